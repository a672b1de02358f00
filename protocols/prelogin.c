/* SPDX-License-Identifier: ISC */
#include "protocols/prelogin.h"

#include <string.h>

#include "protocols/dialogue.h"
#include "protocols/prelogin_client.h"
#include "protocols/prelogin_exchange.h"
#include "protocols/prelogin_request.h"
#include "protocols/prelogin_say.h"
#include "protocols/prelogin_xclient.h"

/* ---- the commands ---- */

/* Leaves the backend for a new connection. The client has had its greeting: the second one is not
 * passed on. */
static enum dialogue_end renew_backend(struct prelogin *s)
{
    struct dialogue *d = s->d;
    prelogin_quit_backend(s);
    s->touched = false;
    if (!d->renew_backend(d)) {
        prelogin_goodbye(s, "Mail server is not available, try again later");
        return DIALOGUE_LOST;
    }
    return d->policy->xclient ? prelogin_introduce_client(s) : prelogin_meet_backend(s);
}

static enum dialogue_end begin_tls(struct prelogin *s)
{
    enum dialogue_end end = prelogin_say(s, SAY_OK, "Begin TLS");
    if (end == DIALOGUE_GO_ON)
        end = prelogin_flush_client(s);
    if (end != DIALOGUE_GO_ON)
        return end;
    s->d->step = "TLS handshake";
    return s->d->start_tls(s->d) ? DIALOGUE_GO_ON : DIALOGUE_LOST;
}

/* Who will hear nothing but refusals needs no other backend. */
static enum dialogue_end go_on_under_tls(struct prelogin *s)
{
    bool renews = s->d->unwelcome == NULL && (s->d->policy->reconnect || s->touched);
    s->upgraded = s->decided = true;
    s->useless = 0;
    enum dialogue_end end = renews ? renew_backend(s) : DIALOGUE_GO_ON;
    if (end != DIALOGUE_GO_ON || s->words->upgraded == NULL)
        return end;
    return s->words->upgraded(s, renews);
}

/* RFC 2595 §4, RFC 5804 §2.2. A backend that has gone is noticed before the go-ahead. */
enum dialogue_end prelogin_do_starttls(struct prelogin *s, const struct command *c,
                                       const struct line *line)
{
    const char *name = s->words->starttls;
    (void)line;
    if (c->args_len > 0)
        return prelogin_say(s, SAY_NO, "%s takes no argument", name);
    if (s->d->tls_active)
        return prelogin_refuse(s, "TLS is already active");
    if (!prelogin_has_tls_to_offer(s))
        return prelogin_say(s, SAY_NO, "%s is not offered", name);
    if (!s->d->tls_ready(s->d))
        return prelogin_say(s, SAY_TRY_LATER, "TLS is not available at the moment");
    if (wire_readable(s->d->backend))
        return prelogin_hear_backend(s);
    enum dialogue_end end = begin_tls(s);
    return end == DIALOGUE_GO_ON ? go_on_under_tls(s) : end;
}

enum dialogue_end prelogin_do_quit(struct prelogin *s, const struct command *c,
                                   const struct line *line)
{
    int64_t deadline = wire_deadline(GOODBYE_SECONDS);
    bool stale = dialogue_is_out_of_turn(s->d);
    enum wire_status why;
    (void)c;
    if (dialogue_put_line(s->d, line, deadline) == WIRE_OK)
        (void)wire_flush(s->d->backend, deadline);
    bool good = s->words->hear(s, FORM_LINE, deadline, &why) == HEARD_REPLY && !stale &&
                s->status != ANSWER_CONTINUE;
    enum wire_status status =
        good ? wire_put(s->d->client, s->reply.bytes, s->reply.len, deadline)
             : s->words->put(s->d->client, s->words->prefixes[SAY_OK], "Bye", deadline);
    if (status != WIRE_OK)
        dialogue_because(s->d, "client %s", wire_status_text(status));
    return DIALOGUE_DONE; /* the session sends it, together with the end of the connection */
}

/* Dovecot trusts our address with this; nobody else may use it. */
enum dialogue_end prelogin_do_forbidden(struct prelogin *s, const struct command *c,
                                        const struct line *line)
{
    (void)c;
    (void)line;
    return prelogin_refuse(s, "Not permitted");
}

enum dialogue_end prelogin_do_too_early(struct prelogin *s, const struct command *c,
                                        const struct line *line)
{
    (void)c;
    (void)line;
    return prelogin_refuse(s, "Log in first");
}

enum dialogue_end prelogin_do_unknown(struct prelogin *s, const struct command *c,
                                      const struct line *line)
{
    (void)c;
    (void)line;
    return prelogin_refuse(s, "Unknown command");
}

/* ---- one after the other ---- */

static const struct verb *find_verb(const struct prelogin *s, const char *name)
{
    const struct verb *v = s->words->verbs;
    while (v->name != NULL && strcmp(v->name, name) != 0)
        v++;
    return v;
}

static enum dialogue_end turn_away(struct prelogin *s, const struct refusal *r)
{
    enum dialogue_end end = prelogin_refuse_and_close(s, r->code / 100 == 4, r->text);
    dialogue_because(s->d, "%s", r->reason);
    return end;
}

static enum dialogue_end handle(struct prelogin *s, const struct command *c,
                                const struct line *line)
{
    struct dialogue *d = s->d;
    const struct verb *v = find_verb(s, c->verb);
    d->step = v->step;
    if (v->flags & LEAVES)
        return v->handle(s, c, line);
    if (d->policy->refusal.code != 0)
        return turn_away(s, &d->policy->refusal);
    if (d->unwelcome != NULL) {
        d->step = "refusing a client without a good certificate";
        return prelogin_refuse(s, d->unwelcome);
    }
    if (!(v->flags & (BEFORE_TLS | OWN_GATE)) && prelogin_lacks_tls(s))
        return prelogin_say(s, SAY_NEEDS_TLS, "Must issue a %s command first", s->words->starttls);
    return v->handle(s, c, line);
}

/* Every command is one that has brought no login. */
static enum dialogue_end next_command(struct prelogin *s)
{
    struct command c = {0};
    struct line line;
    int64_t deadline = dialogue_client_deadline(s->d, s->decided);
    s->d->step = "waiting for a command";
    enum dialogue_end end = prelogin_wait_for_client(s, deadline);
    if (end == DIALOGUE_GO_ON)
        end = s->words->take_command(s, deadline, &c, &line);
    if (end != DIALOGUE_GO_ON)
        return end;
    s->useless++;
    if (c.verb[0] != '\0')
        end = handle(s, &c, &line);
    if (end == DIALOGUE_GO_ON && s->useless > s->d->policy->max_useless) {
        dialogue_because(s->d, "client sent more than %u commands without a login",
                         s->d->policy->max_useless);
        prelogin_goodbye(s, "Too many commands without a login");
        return DIALOGUE_REFUSED;
    }
    return end;
}

static enum dialogue_end next_commands(struct prelogin *s, enum dialogue_end end)
{
    while (end == DIALOGUE_GO_ON)
        end = next_command(s);
    reply_finish(&s->reply);
    reply_finish(&s->edited);
    reply_finish(&s->command);
    return end;
}

/* The greeting comes before the command, and is passed on when that has been believed. */
static enum dialogue_end begin(struct prelogin *s)
{
    if (!s->d->policy->xclient)
        return prelogin_pass_greeting(s);
    enum dialogue_end end = prelogin_introduce_client(s);
    return end == DIALOGUE_GO_ON ? prelogin_pass_reply(s, &s->edited) : end;
}

enum dialogue_end prelogin_serve(struct dialogue *d, const struct prelogin_words *words)
{
    struct prelogin s = {.d = d, .words = words, .decided = d->tls_active};
    return next_commands(&s, begin(&s));
}

enum dialogue_end prelogin_request(struct dialogue *d, const struct prelogin_words *words)
{
    struct prelogin s = {.d = d, .words = words, .requesting = true};
    return next_commands(&s, prelogin_open_request(&s));
}
