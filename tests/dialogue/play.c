/* SPDX-License-Identifier: ISC
 *
 * Plays transcripts against the dialogues: `play DIRECTORY-or-FILE...`. The directory's name is
 * the protocol's; "smtp-request" holds those in which the client speaks in clear and the backend
 * is asked for TLS. Each transcript is played
 *   - whole: what a peer says in one breath is sent in one write;
 *   - byte by byte: every read and write of the dialogue moves one byte;
 *   - cut: the client vanishes, and the backend vanishes, behind every byte it says, by closing
 *     its connection and by closing only its sending half. Nothing may hang, nothing may be heard
 *     that the whole session does not hold in that place, the client is never left without a last
 *     word, and no message counts as accepted that the backend did not accept.
 * Each runs in a process of its own, so that a crash is one failure among the others; several run
 * at a time.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "protocols/memory.h"
#include "served.h"
#include "transcript.h"

#ifdef EHLOCK_SANITIZED
enum { DEADLINE_SECONDS = 30 };
#else
enum { DEADLINE_SECONDS = 10 };
#endif
enum {
    CHILD_SECONDS = 300,
    JOBS = 4,         /* transcripts played at a time */
    DULL_STEP = 1021, /* in a long repetition one place in so many is cut */
    DULL_EDGE = 8,    /* and every one so near to its ends */
    NO_LIMIT = -1,
};

enum vanishing {
    NOBODY_VANISHES,
    CLIENT_CLOSES,
    CLIENT_HALF_CLOSES,
    BACKEND_CLOSES,
    BACKEND_HALF_CLOSES,
};

/* One of the two ends that we play. */
struct peer {
    const char *name;
    int fd;            /* -1: closed */
    bool tls;          /* speaks TLS by now */
    bool silent;       /* has closed its sending half */
    bool heard_end;    /* end of file came */
    bool vanished;     /* its cut has come */
    long left;         /* bytes it may still send before it vanishes, or NO_LIMIT */
    struct bytes in;   /* all that was heard, deciphered */
    size_t understood; /* bytes of `in` that the transcript has accounted for */
};

struct play {
    const struct transcript *t;
    const struct protocol *protocol;
    enum vanishing vanishing;
    size_t cut; /* the bytes after which it vanishes */
    bool bytewise;
    struct served served;
    struct peer client, backend;
    int spare_fd;      /* the backend's end of its next connection; -1: none */
    unsigned accepted; /* messages that the backend has accepted, every byte of it sent */
    unsigned line;     /* of the transcript */
    char failure[400]; /* empty as long as all is well */
};

/* ---- telling ---- */

static void print_bytes(const char *data, size_t len)
{
    enum { SHOWN = 600 };
    size_t from = len > SHOWN ? len - SHOWN : 0;
    if (from > 0)
        printf("(%zu bytes) ...", from);
    for (size_t i = from; i < len; i++) {
        unsigned char c = (unsigned char)data[i];
        if (c == '\n')
            printf(i + 1 < len ? "\\n\n#       " : "\\n");
        else if (c == '\r')
            printf("\\r");
        else if (c < ' ' || c > '~')
            printf("\\x%02x", c);
        else
            putchar(c);
    }
    putchar('\n');
}

static void print_stream(const char *title, const struct bytes *b)
{
    printf("#   %s:\n#       ", title);
    print_bytes(b->data, b->len);
}

__attribute__((format(printf, 2, 3))) static bool fail(struct play *p, const char *format, ...)
{
    va_list ap;
    if (p->failure[0] != '\0')
        return false;
    va_start(ap, format);
    vsnprintf(p->failure, sizeof p->failure, format, ap);
    va_end(ap);
    return false;
}

static const char *end_word(enum dialogue_end end)
{
    static const char *const words[] = {"go on", "pump", "done", "refused", "lost"};
    return words[end];
}

static const char *delivery_word(const struct play *p)
{
    static const char *const words[] = {
        "delivered whole",
        "client closes",
        "client closes its sending half",
        "backend closes",
        "backend closes its sending half",
    };
    return p->bytewise ? "delivered byte by byte" : words[p->vanishing];
}

static void print_failure(const struct play *p, bool ended)
{
    printf("# %s:%u: %s", p->t->path, p->line, delivery_word(p));
    if (p->vanishing != NOBODY_VANISHES)
        printf(" after %zu bytes", p->cut);
    printf(": %s\n", p->failure);
    print_stream("the client heard", &p->client.in);
    print_stream("the backend heard", &p->backend.in);
    if (ended)
        printf("#   end=%s step=\"%s\" reason=\"%s\" mail=%u rcpt=%u accepted=%u\n",
               end_word(p->served.end), p->served.step, p->served.reason, p->served.tally.senders,
               p->served.tally.recipients, p->served.tally.messages);
}

/* ---- hearing and sending ---- */

static void decipher(struct peer *peer, size_t from)
{
    for (size_t i = from; i < peer->in.len; i++)
        peer->in.data[i] = (char)((unsigned char)peer->in.data[i] ^ TLS_MASK);
}

static void hear_some(struct peer *peer)
{
    char block[8192];
    size_t from = peer->in.len;
    ssize_t n = recv(peer->fd, block, sizeof block, MSG_DONTWAIT);
    if (n > 0) {
        bytes_add(&peer->in, block, (size_t)n);
        if (peer->tls)
            decipher(peer, from);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        peer->heard_end = true; /* a reset is an end, too */
    }
}

/* Hears both peers, and waits until `sender` (or nobody) can send or something has been heard. */
static bool exchange(struct play *p, const struct peer *sender, int64_t deadline)
{
    struct peer *peers[2] = {&p->client, &p->backend};
    struct pollfd fds[2];
    for (int i = 0; i < 2; i++)
        fds[i] = (struct pollfd){.fd = peers[i]->fd,
                                 .events = (short)((peers[i]->heard_end ? 0 : POLLIN) |
                                                   (peers[i] == sender ? POLLOUT : 0))};
    for (int i = 0; i < 2; i++)
        if (fds[i].events == 0)
            fds[i].fd = -1;
    int64_t left = deadline - wire_now();
    if (left <= 0 || (poll(fds, 2, (int)left) < 0 && errno != EINTR))
        return fail(p, "nothing happens any more");
    for (int i = 0; i < 2; i++)
        if (fds[i].fd >= 0 && fds[i].revents != 0 && !peers[i]->heard_end)
            hear_some(peers[i]);
    return true;
}

static int64_t play_deadline(void)
{
    return wire_deadline(DEADLINE_SECONDS);
}

static void close_peer(struct peer *peer)
{
    if (peer->fd >= 0)
        close(peer->fd);
    peer->fd = -1;
    peer->silent = peer->heard_end = true;
}

static void silence(struct peer *peer)
{
    if (!peer->silent)
        (void)shutdown(peer->fd, SHUT_WR);
    peer->silent = true;
}

/* A backend that is gone cannot be connected to anew. */
static void vanish_for_good(struct play *p)
{
    if (p->spare_fd >= 0)
        close(p->spare_fd);
    p->spare_fd = -1;
}

static void vanish(struct play *p, struct peer *peer)
{
    peer->vanished = true;
    if (peer == &p->backend)
        vanish_for_good(p);
    if (p->vanishing == CLIENT_HALF_CLOSES || p->vanishing == BACKEND_HALF_CLOSES)
        silence(peer);
    else
        close_peer(peer);
}

/* Sends all, or what the peer may say before it vanishes. Whom nobody hears any more is done. */
static bool say(struct play *p, struct peer *peer, const char *data, size_t len)
{
    int64_t deadline = play_deadline();
    if (peer->left != NO_LIMIT && len > (size_t)peer->left)
        len = (size_t)peer->left;
    if (peer->left != NO_LIMIT)
        peer->left -= (long)len;
    while (len > 0 && !peer->silent) {
        char block[4096];
        size_t n = len < sizeof block ? len : sizeof block;
        for (size_t i = 0; i < n; i++)
            block[i] = peer->tls ? (char)((unsigned char)data[i] ^ TLS_MASK) : data[i];
        ssize_t sent = send(peer->fd, block, p->bytewise ? 1 : n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            break;
        if (sent > 0) {
            data += sent;
            len -= (size_t)sent;
        } else if (!exchange(p, peer, deadline)) {
            return false;
        }
    }
    if (peer->left == 0)
        vanish(p, peer);
    return true;
}

/* Whether the peer hears this next. In a cut session it may be told something else instead. */
static bool hear(struct play *p, struct peer *peer, const char *data, size_t len, bool *heard)
{
    int64_t deadline = play_deadline();
    for (;;) {
        size_t have = peer->in.len - peer->understood;
        size_t n = have < len ? have : len;
        *heard = n == 0 || memcmp(peer->in.data + peer->understood, data, n) == 0;
        if (!*heard && p->vanishing == NOBODY_VANISHES)
            return fail(p, "the %s hears something else", peer->name);
        if (!*heard)
            return true;
        if (n == len) {
            peer->understood += len;
            return true;
        }
        if (peer->heard_end) {
            *heard = false;
            return p->vanishing != NOBODY_VANISHES ||
                   fail(p, "the %s hears the end instead", peer->name);
        }
        if (!exchange(p, NULL, deadline))
            return false;
    }
}

static bool hear_end(struct play *p, struct peer *peer)
{
    int64_t deadline = play_deadline();
    while (!peer->heard_end)
        if (!exchange(p, NULL, deadline))
            return false;
    return true;
}

/* ---- a session as written ---- */

static const struct bytes *text_of(const struct play *p, size_t i)
{
    return &p->t->items[i].text;
}

/* What one peer says without waiting, in one piece. Returns the number of items. */
static size_t say_items(struct play *p, struct peer *peer, size_t i, bool *good)
{
    struct bytes all = {0};
    size_t n = 0;
    unsigned accepted = 0;
    for (; i + n < p->t->count && p->t->items[i + n].kind == p->t->items[i].kind; n++) {
        const struct bytes *text = text_of(p, i + n);
        bytes_add(&all, text->data, text->len);
        bool whole = peer->left == NO_LIMIT || (size_t)peer->left >= all.len;
        if (peer == &p->backend && whole && memmem(text->data, text->len, "queued", 6) != NULL)
            accepted++;
    }
    if (!peer->silent)
        p->accepted += accepted;
    *good = peer->silent || say(p, peer, all.data, all.len);
    bytes_free(&all);
    return n;
}

static bool begin_tls(struct play *p, size_t i, bool *heard)
{
    struct peer *client = &p->client;
    if (!say(p, client, text_of(p, i)->data, text_of(p, i)->len))
        return false;
    if (p->t->items[i].kind == TLS_FAILS || client->vanished)
        return true;
    if (!hear(p, client, SERVER_HELLO, strlen(SERVER_HELLO), heard))
        return false;
    if (*heard) {
        decipher(client, client->understood);
        client->tls = true;
    }
    return true;
}

/* Whether the backend has said all that stands before the item. */
static bool has_said_all(const struct play *p, size_t i)
{
    size_t len = 0;
    for (size_t k = 0; k < i; k++)
        if (p->t->items[k].kind == BACKEND_SENDS)
            len += text_of(p, k)->len;
    return !p->backend.vanished || p->cut >= len;
}

/* The backend has answered the hello: from here on it speaks and hears under TLS. */
static void begin_server_tls(struct play *p, size_t i)
{
    struct peer *backend = &p->backend;
    if (!has_said_all(p, i))
        return;
    decipher(backend, backend->understood);
    backend->tls = true;
}

/* The backend's connection ends, and the next one begins, in clear. */
static bool begin_new_connection(struct play *p)
{
    struct peer *backend = &p->backend;
    if (backend->vanished)
        return true;
    if (!hear_end(p, backend))
        return false;
    close_peer(backend);
    backend->fd = p->spare_fd;
    p->spare_fd = -1;
    backend->tls = backend->silent = backend->heard_end = false;
    return backend->fd >= 0 || fail(p, "there is no second connection to be had");
}

/* Hears what the item tells unless that peer has vanished; *go_on is false when, in a cut
 * session, something else came instead and there is no sense in going on. */
static bool hear_item(struct play *p, struct peer *peer, size_t i, bool *go_on)
{
    if (peer->vanished)
        return true;
    return hear(p, peer, text_of(p, i)->data, text_of(p, i)->len, go_on);
}

static void stop_served(struct play *p)
{
    uint64_t one = 1;
    if (write(p->served.cancel_fd, &one, sizeof one) < 0)
        (void)fail(p, "the cancel descriptor cannot be written");
}

static bool play_items(struct play *p)
{
    bool good = true, go_on = true;
    size_t i = 0;
    while (i < p->t->count && good && go_on) {
        size_t n = 1;
        p->line = p->t->items[i].line;
        switch (p->t->items[i].kind) {
        case CLIENT_SENDS:
            n = say_items(p, &p->client, i, &good);
            break;
        case BACKEND_SENDS:
            n = say_items(p, &p->backend, i, &good);
            break;
        case CLIENT_HEARS:
            good = hear_item(p, &p->client, i, &go_on);
            break;
        case BACKEND_HEARS:
            good = hear_item(p, &p->backend, i, &go_on);
            break;
        case CLIENT_SAYS_BYE:
            if (!p->client.vanished)
                atomic_store(&p->served.close_notify, true);
            silence(&p->client);
            break;
        case CLIENT_ENDS:
            silence(&p->client);
            break;
        case BACKEND_ENDS:
            silence(&p->backend);
            break;
        case BACKEND_CLOSES_DOWN:
            close_peer(&p->backend);
            break;
        case CLIENT_HEARS_END:
            good = p->vanishing != NOBODY_VANISHES || hear_end(p, &p->client);
            break;
        case BACKEND_HEARS_END:
            good = p->vanishing != NOBODY_VANISHES || hear_end(p, &p->backend);
            break;
        case BACKEND_HAS_TLS:
            begin_server_tls(p, i);
            break;
        case BACKEND_IS_NEW:
            good = begin_new_connection(p);
            break;
        case TLS_BEGINS:
        case TLS_FAILS:
            if (!p->client.silent)
                good = begin_tls(p, i, &go_on);
            break;
        case STOP:
            stop_served(p);
            break;
        }
        i += n;
    }
    return good;
}

/* ---- judging ---- */

static bool heard_all(struct play *p, const struct peer *peer)
{
    if (peer->in.len > peer->understood)
        return fail(p, "the %s hears more than the transcript holds", peer->name);
    return true;
}

static bool is_as_wanted(const char *text, const char *want)
{
    if (want == NULL)
        return true;
    return want[0] == '=' ? strcmp(text, want + 1) == 0 : strstr(text, want) != NULL;
}

static bool judge_whole(struct play *p)
{
    const struct served *s = &p->served;
    const struct transcript *t = p->t;
    if (!heard_all(p, &p->client) || !heard_all(p, &p->backend))
        return false;
    if (s->end != t->end)
        return fail(p, "the end is \"%s\", not \"%s\"", end_word(s->end), end_word(t->end));
    if (!is_as_wanted(s->reason, t->reason))
        return fail(p, "the reason should be \"%s\"", t->reason);
    if (!is_as_wanted(s->step, t->step))
        return fail(p, "the step should be \"%s\"", t->step);
    if (t->has_tally &&
        (s->tally.senders != t->tally.senders || s->tally.recipients != t->tally.recipients ||
         s->tally.messages != t->tally.messages))
        return fail(p, "the tally is not mail=%u rcpt=%u accepted=%u", t->tally.senders,
                    t->tally.recipients, t->tally.messages);
    return true;
}

/* Whether the `len` bytes are one reply of one line that ends a session. */
static bool is_goodbye(const char *data, size_t len)
{
    static const char *const words[] = {
        "421 ", "221 ", "-ERR [SYS/TEMP] ", "+OK Bye\r\n", "BYE (TRYLATER) ", "OK \"Bye\"\r\n"};
    bool is_one = false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        is_one |= len >= strlen(words[i]) && memcmp(data, words[i], strlen(words[i])) == 0;
    return is_one && memchr(data, '\n', len) == data + len - 1 && data[len - 2] == '\r';
}

/* How many bytes of `heard` agree with the whole session. */
static size_t agreement(const struct bytes *heard, const struct bytes *whole)
{
    size_t n = 0;
    while (n < heard->len && n < whole->len && heard->data[n] == whole->data[n])
        n++;
    return n;
}

/* Back to the beginning of a line: the goodbye may begin like the reply it stands for. */
static size_t line_start(const struct bytes *b, size_t at)
{
    while (at > 0 && b->data[at - 1] != '\n')
        at--;
    return at;
}

/* A client that vanished behind its ClientHello, or that plays the hello by itself, has not
 * deciphered what it was told under TLS. */
static void decipher_rest(struct peer *client)
{
    const char *hello = client->in.len == 0 ? NULL
                                            : memmem(client->in.data, client->in.len, SERVER_HELLO,
                                                     strlen(SERVER_HELLO));
    if (client->tls || hello == NULL)
        return;
    decipher(client, (size_t)(hello - client->in.data) + strlen(SERVER_HELLO));
    client->tls = true;
}

static bool judge_client_of_cut(struct play *p)
{
    const struct bytes *heard = &p->client.in;
    struct bytes whole = transcript_stream(p->t, CLIENT_HEARS);
    size_t same = agreement(heard, &whole);
    size_t line = line_start(heard, same);
    bool all = heard->len == whole.len && same == whole.len;
    bool beginning = same == heard->len;
    bool parted = is_goodbye(heard->data + line, heard->len - line);
    bytes_free(&whole);
    if (!beginning && !parted)
        return fail(p, "the client hears what the whole session does not hold");
    if (!all && !parted && p->backend.vanished && !p->client.silent)
        return fail(p, "the client is left without a last word");
    return true;
}

/* Whether the bytes are one whole line that the client says in the session. */
static bool is_line_of_client(const struct transcript *t, const char *data, size_t len)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct bytes *text = &t->items[i].text;
        if (t->items[i].kind == CLIENT_SENDS && text->len == len &&
            memcmp(text->data, data, len) == 0)
            return memchr(data, '\n', len) == data + len - 1;
    }
    return false;
}

/* A backend that fell silent before the words for which it is distrusted may be given one command
 * more: the next one that the client has said. */
static bool judge_backend_of_cut(struct play *p)
{
    const struct bytes *heard = &p->backend.in;
    struct bytes whole = transcript_stream(p->t, BACKEND_HEARS);
    size_t same = agreement(heard, &whole);
    bool all = same == whole.len;
    bytes_free(&whole);
    if (same == heard->len || (all && p->backend.vanished &&
                               is_line_of_client(p->t, heard->data + same, heard->len - same)))
        return true;
    return fail(p, "the backend hears what the whole session does not hold");
}

/* What the client did not say to its end: the n-th item of a turn, and how much of it was said. */
struct unsaid {
    size_t turn, nth, said;
};

static bool find_unsaid(const struct play *p, struct unsaid *u)
{
    size_t said = 0;
    *u = (struct unsaid){0};
    for (size_t i = 0; i < p->t->count; i++) {
        const struct item *item = &p->t->items[i];
        bool hello = item->kind == TLS_BEGINS || item->kind == TLS_FAILS;
        if (item->kind != CLIENT_SENDS && !hello)
            continue;
        if (item->kind == CLIENT_SENDS && i > 0 && p->t->items[i - 1].kind == CLIENT_SENDS)
            u->nth++;
        else
            *u = (struct unsaid){.turn = i};
        if (said + item->text.len > p->cut) {
            u->said = p->cut - said;
            return item->kind == CLIENT_SENDS;
        }
        said += item->text.len;
    }
    return false;
}

static bool begins_with(const struct bytes *text, const char *word)
{
    size_t len = strlen(word);
    return text->len >= len && memcmp(text->data, word, len) == 0;
}

static bool ends_message(const struct bytes *text)
{
    return (text->len >= 5 && memcmp(text->data + text->len - 5, "\r\n.\r\n", 5) == 0) ||
           (text->len == 3 && memcmp(text->data, ".\r\n", 3) == 0);
}

/* Whether the n-th item of a turn is octets of a message: it stands behind BDAT, or behind the 354
 * to DATA and before the end of the message. All else is a line. */
static bool is_body(const struct play *p, size_t turn, size_t nth)
{
    if (nth > 0 && begins_with(text_of(p, turn + nth - 1), "BDAT "))
        return true;
    size_t i = turn;
    while (i > 0 && p->t->items[i - 1].kind != CLIENT_HEARS)
        i--;
    if (i == 0 || !begins_with(text_of(p, i - 1), "354"))
        return false;
    for (size_t k = 0; k < nth; k++)
        if (ends_message(text_of(p, turn + k)))
            return false;
    return true;
}

/* How much of an item the backend may have heard when the client said only `said` bytes of it.
 * Nothing of a command: it is passed on whole or not at all. A body is passed on in blocks as it
 * comes, and nothing may be added that would end it. */
static size_t may_be_heard(bool body, const struct bytes *sent, const struct bytes *heard,
                           size_t said)
{
    bool unchanged = heard->len <= sent->len && memcmp(heard->data, sent->data, heard->len) == 0;
    if (!body)
        return 0;
    if (!unchanged) /* normalized: a byte may have become two */
        said = ends_message(heard) && 2 * said >= heard->len ? heard->len - 1 : 2 * said;
    return said < heard->len ? said : heard->len;
}

/* Where what the client says in a turn reaches the backend item by item, the item that was never
 * said to its end must not have reached it to its end: nobody completes what the client left open.
 */
static bool judge_unsaid(struct play *p)
{
    struct unsaid u;
    size_t lines = 0, heard = 0, most = 0;
    if (!find_unsaid(p, &u))
        return true;
    for (size_t i = 0; i < u.turn; i++)
        if (p->t->items[i].kind == BACKEND_HEARS)
            most += text_of(p, i)->len;
    size_t i = u.turn;
    for (; i < p->t->count && p->t->items[i].kind == CLIENT_SENDS; i++)
        lines++;
    for (; i < p->t->count && p->t->items[i].kind != CLIENT_SENDS; i++)
        if (p->t->items[i].kind == BACKEND_HEARS) {
            if (heard < u.nth)
                most += text_of(p, i)->len;
            else if (heard == u.nth)
                most += may_be_heard(is_body(p, u.turn, u.nth), text_of(p, u.turn + u.nth),
                                     text_of(p, i), u.said);
            heard++;
        }
    if (heard == lines && p->backend.in.len > most)
        return fail(p, "the backend hears what the client did not say to its end");
    return true;
}

static bool judge_cut(struct play *p)
{
    enum dialogue_end end = p->served.end;
    if (end != DIALOGUE_LOST && end != DIALOGUE_DONE && end != p->t->end)
        return fail(p, "the end is \"%s\"", end_word(end));
    if (p->served.tally.messages > p->accepted)
        return fail(p, "a message counts as accepted that the backend did not accept");
    decipher_rest(&p->client);
    if (!judge_client_of_cut(p) || !judge_backend_of_cut(p))
        return false;
    return !p->client.vanished || judge_unsaid(p);
}

/* ---- one session ---- */

static bool connect_peer(struct peer *peer, int *far_end)
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
        return false;
    (void)fcntl(fds[1], F_SETFL, O_NONBLOCK);
    peer->fd = fds[0];
    *far_end = fds[1];
    return true;
}

static bool has_new_connection(const struct transcript *t)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->items[i].kind == BACKEND_IS_NEW)
            return true;
    return false;
}

/* What a backend would be reached by if its connection had to be made anew. */
static bool connect_spare(struct play *p)
{
    struct peer spare;
    bool wanted = p->t->requests || p->t->policy.reconnect || has_new_connection(p->t);
    if (!wanted || !p->t->new_connection)
        return true;
    bool good = connect_peer(&spare, &p->served.spare_fd);
    p->spare_fd = good ? spare.fd : -1;
    return good;
}

static bool set_up(struct play *p)
{
    p->client = (struct peer){.name = "client", .left = NO_LIMIT, .tls = p->t->starts_with_tls};
    p->backend =
        (struct peer){.name = "backend", .left = NO_LIMIT, .tls = p->t->server_starts_with_tls};
    p->spare_fd = -1;
    p->served = (struct served){
        .transcript = p->t,
        .protocol = p->protocol,
        .chunk = p->bytewise ? 1 : SIZE_MAX,
        .cancel_fd = eventfd(0, EFD_CLOEXEC),
        .spare_fd = -1,
    };
    return p->served.cancel_fd >= 0 && connect_peer(&p->client, &p->served.client_fd) &&
           connect_peer(&p->backend, &p->served.backend_fd) && connect_spare(p) &&
           served_start(&p->served);
}

/* Plays it once. A dialogue that does not end takes the process with it: its thread cannot be
 * stopped. */
static bool play_once(struct play *p)
{
    if (!set_up(p)) {
        printf("# %s: %s\n", p->t->path, strerror(errno));
        exit(1);
    }
    struct peer *who = p->vanishing == CLIENT_CLOSES || p->vanishing == CLIENT_HALF_CLOSES
                           ? &p->client
                           : &p->backend;
    if (p->vanishing != NOBODY_VANISHES) {
        who->left = (long)p->cut;
        if (p->cut == 0)
            vanish(p, who);
    }
    bool good = play_items(p) && hear_end(p, &p->client) && hear_end(p, &p->backend);
    if (!good) { /* whatever it is waiting for, this ends it */
        close_peer(&p->client);
        close_peer(&p->backend);
        vanish_for_good(p);
    }
    bool ended = served_finish(&p->served, play_deadline());
    if (!ended)
        (void)fail(p, "the dialogue does not end");
    close_peer(&p->client);
    close_peer(&p->backend);
    vanish_for_good(p);
    good = good && ended && (p->vanishing == NOBODY_VANISHES ? judge_whole(p) : judge_cut(p));
    if (!good)
        print_failure(p, ended);
    close(p->served.cancel_fd);
    bytes_free(&p->client.in);
    bytes_free(&p->backend.in);
    if (!ended) {
        fflush(stdout);
        _exit(1);
    }
    return good;
}

/* ---- all deliveries of one transcript ---- */

/* Whether a cut there shows no more than a cut elsewhere in the same long repetition. */
static bool is_dull(const struct transcript *t, enum item_kind kind, size_t cut)
{
    size_t start = 0;
    for (size_t i = 0; i < t->count && start <= cut; i++) {
        const struct item *item = &t->items[i];
        bool hello = item->kind == TLS_BEGINS || item->kind == TLS_FAILS;
        if (item->kind != kind && !(hello && kind == CLIENT_SENDS))
            continue;
        if (cut > start + item->dull_start + DULL_EDGE &&
            cut + DULL_EDGE < start + item->dull_end && cut % DULL_STEP != 0)
            return true;
        start += item->text.len;
    }
    return false;
}

static bool play_cuts(const struct transcript *t, const struct protocol *protocol,
                      enum vanishing vanishing, unsigned *count)
{
    bool client = vanishing == CLIENT_CLOSES || vanishing == CLIENT_HALF_CLOSES;
    enum item_kind kind = client ? CLIENT_SENDS : BACKEND_SENDS;
    struct bytes all = transcript_stream(t, kind);
    size_t len = all.len;
    bytes_free(&all);
    for (size_t cut = 0; cut <= len; cut++) {
        struct play p = {.t = t, .protocol = protocol, .vanishing = vanishing, .cut = cut};
        if (is_dull(t, kind, cut))
            continue;
        if (!play_once(&p))
            return false;
        (*count)++;
    }
    return true;
}

static bool play_transcript(const struct transcript *t, const struct protocol *protocol,
                            unsigned *cuts)
{
    struct play whole = {.t = t, .protocol = protocol};
    struct play bytewise = {.t = t, .protocol = protocol, .bytewise = true};
    if (!play_once(&whole))
        return false;
    if (t->only_whole)
        return true;
    bool good = play_once(&bytewise);
    for (int v = CLIENT_CLOSES; v <= BACKEND_HALF_CLOSES; v++)
        good = play_cuts(t, protocol, (enum vanishing)v, cuts) && good;
    return good;
}

/* ---- all transcripts ---- */

/* "smtp/case" out of ".../smtp/case.txt". */
static char *case_name(const char *path)
{
    const char *from = path + strlen(path);
    int slashes = 0;
    while (from > path && slashes < 2)
        if (*--from == '/')
            slashes++;
    char *name = memory_strdup(*from == '/' ? from + 1 : from);
    char *dot = strrchr(name, '.');
    if (dot != NULL)
        *dot = '\0';
    return name;
}

static const struct protocol *protocol_of(const char *name)
{
    char word[16];
    return sscanf(name, "%15[^/-]", word) == 1 ? protocol_find(word) : NULL;
}

static bool is_request(const char *name)
{
    char word[16];
    return sscanf(name, "%*15[^/-]-%15[^/]/", word) == 1 && strncmp(word, "request", 7) == 0;
}

/* The two threads take turns, so a second processor would only carry bytes to and fro. Where this
 * is not allowed, they go on as they are. */
static void stay_on_one_processor(unsigned number)
{
    cpu_set_t all, one;
    if (sched_getaffinity(0, sizeof all, &all) != 0)
        return;
    unsigned nth = number % (unsigned)CPU_COUNT(&all);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &all) && nth-- == 0) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            (void)sched_setaffinity(0, sizeof one, &one);
        }
}

/* In a process of its own. */
static int play_file(const char *path, const char *name, unsigned number)
{
    struct transcript t = {0};
    unsigned cuts = 0;
    const struct protocol *protocol = protocol_of(name);
    alarm(CHILD_SECONDS);
    stay_on_one_processor(number);
    if (protocol == NULL)
        printf("# %s: its directory is not the name of a protocol\n", path);
    bool good = protocol != NULL && transcript_read(&t, path);
    t.requests = is_request(name);
    good = good && play_transcript(&t, protocol, &cuts);
    if (good)
        printf("# played %s and with %u cuts\n", t.only_whole ? "whole" : "whole, byte by byte",
               cuts);
    transcript_free(&t);
    fflush(stdout);
    return good ? 0 : 1;
}

/* One transcript and its process. What it prints is kept until it is its turn. */
struct job {
    char *path, *name; /* owned */
    pid_t pid;
    FILE *output;
    bool ended;
    int status;
};

struct list {
    struct job *jobs; /* owned */
    unsigned count;
};

/* Takes the path. */
static void add_path(struct list *l, char *path)
{
    l->jobs = memory_resize(l->jobs, (l->count + 1) * sizeof *l->jobs);
    l->jobs[l->count++] = (struct job){.path = path, .name = case_name(path)};
}

static void list_finish(struct list *l)
{
    for (unsigned i = 0; i < l->count; i++) {
        free(l->jobs[i].path);
        free(l->jobs[i].name);
    }
    free(l->jobs);
}

static int is_transcript(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');
    return dot != NULL && strcmp(dot, ".txt") == 0;
}

/* Adds the file, or the transcripts of the directory in the order of their names. */
static bool add_argument(struct list *l, const char *argument)
{
    struct dirent **entries;
    struct stat info;
    if (stat(argument, &info) != 0)
        return false;
    if (!S_ISDIR(info.st_mode)) {
        add_path(l, memory_strdup(argument));
        return true;
    }
    int n = scandir(argument, &entries, is_transcript, alphasort);
    for (int i = 0; i < n; i++) {
        char *path;
        if (asprintf(&path, "%s/%s", argument, entries[i]->d_name) >= 0)
            add_path(l, path);
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
    return n > 0;
}

/* ---- several at a time: what a transcript waits for, another can use ---- */

static bool begin_job(struct job *j, unsigned number)
{
    j->output = tmpfile();
    fflush(stdout);
    j->pid = j->output != NULL ? fork() : -1;
    if (j->pid == 0) {
        if (dup2(fileno(j->output), STDOUT_FILENO) < 0)
            _exit(1);
        exit(play_file(j->path, j->name, number));
    }
    j->ended = j->pid < 0;
    j->status = 1;
    return !j->ended;
}

/* Waits until one of the jobs has ended; false when there is none to wait for. */
static bool wait_for_job(struct list *l)
{
    int status;
    pid_t pid = wait(&status);
    for (unsigned i = 0; i < l->count && pid > 0; i++)
        if (l->jobs[i].pid == pid) {
            l->jobs[i].status = status;
            l->jobs[i].ended = true;
        }
    return pid > 0;
}

static void print_output(FILE *output)
{
    char block[4096];
    size_t n;
    rewind(output);
    while ((n = fread(block, 1, sizeof block, output)) > 0)
        fwrite(block, 1, n, stdout);
    fclose(output);
}

/* Whether the job, which has ended, is a success. */
static bool tell_job(const struct job *j, unsigned number)
{
    if (j->output != NULL)
        print_output(j->output);
    if (WIFSIGNALED(j->status))
        printf("# died of signal %d (%s)\n", WTERMSIG(j->status), strsignal(WTERMSIG(j->status)));
    printf("%s %u - %s\n", j->status == 0 ? "ok" : "not ok", number, j->name);
    fflush(stdout);
    return j->status == 0;
}

static unsigned run_jobs(struct list *l)
{
    unsigned begun = 0, running = 0, told = 0, passed = 0;
    while (told < l->count) {
        for (; begun < l->count && running < JOBS; begun++)
            running += begin_job(&l->jobs[begun], begun + 1);
        if (!l->jobs[told].ended) {
            if (!wait_for_job(l))
                break;
            running--;
        }
        for (; told < begun && l->jobs[told].ended; told++)
            passed += tell_job(&l->jobs[told], told + 1);
    }
    return passed;
}

int main(int argc, char **argv)
{
    struct list l = {0};
    for (int i = 1; i < argc; i++)
        if (!add_argument(&l, argv[i])) {
            printf("Bail out! %s: no transcript there\n", argv[i]);
            return 1;
        }
    printf("1..%u\n", l.count);
    unsigned passed = run_jobs(&l);
    printf("# %u passed, %u failed\n", passed, l.count - passed);
    bool good = l.count > 0 && passed == l.count;
    list_finish(&l);
    return good ? 0 : 1;
}
