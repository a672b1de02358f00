/* SPDX-License-Identifier: ISC */
#include "protocols/pop3_login.h"

#include "protocols/dialogue.h"
#include "protocols/pop3_client.h"
#include "protocols/pop3_exchange.h"
#include "protocols/pop3_say.h"

/* Who asked the server for TLS, and did not get it, may get it the next time: temporary. */
static enum dialogue_end refuse_in_clear(struct pop3 *s)
{
    return pop3_refuse(s, s->requesting
                              ? "[SYS/TEMP] No TLS to the mail server: no password is sent there"
                              : "Must issue a STLS command first");
}

/* Behind this nothing has to be understood any more: STLS is for the time before a login
 * (RFC 2595 §4), and what the client has sent ahead is for the backend. */
static enum dialogue_end pass_welcome(struct pop3 *s)
{
    enum dialogue_end end = pop3_pass_reply(s, &s->reply);
    if (end == DIALOGUE_GO_ON)
        end = pop3_flush_client(s);
    return end == DIALOGUE_GO_ON ? DIALOGUE_PUMP : end;
}

static enum dialogue_end forward_login(struct pop3 *s, const struct line *line)
{
    s->touched = true;
    enum dialogue_end end = pop3_forward(s, line, POP3_LINE);
    if (end == DIALOGUE_GO_ON && s->status == POP3_CONTINUE)
        return pop3_distrust_backend(s, "asked for more after a command that is complete");
    return end;
}

enum dialogue_end pop3_do_user(struct pop3 *s, const struct command *c, const struct line *line)
{
    (void)c;
    if (pop3_login_withheld(s))
        return refuse_in_clear(s);
    enum dialogue_end end = forward_login(s, line);
    return end == DIALOGUE_GO_ON ? pop3_pass_reply(s, &s->reply) : end;
}

enum dialogue_end pop3_do_pass(struct pop3 *s, const struct command *c, const struct line *line)
{
    (void)c;
    if (pop3_login_withheld(s))
        return refuse_in_clear(s);
    enum dialogue_end end = forward_login(s, line);
    if (end != DIALOGUE_GO_ON)
        return end;
    return s->status == POP3_OK ? pass_welcome(s) : pop3_pass_reply(s, &s->reply);
}

/* The client's answer to a challenge, or a cancellation in its place if it is no line. */
static enum dialogue_end answer_challenge(struct pop3 *s, bool *cancelled)
{
    struct line line;
    size_t max = s->d->policy->max_command;
    int64_t deadline = dialogue_client_deadline(s->d, s->decided);
    enum wire_status status = wire_getline(s->d->client, max, deadline, &line);
    if (status == WIRE_OK && dialogue_ends_clearly(s->d, &line))
        return pop3_forward(s, &line, POP3_LINE);
    if (status != WIRE_OK && status != WIRE_TOOLONG)
        return pop3_lost_client(s, status);
    *cancelled = true;
    if (status == WIRE_TOOLONG) {
        status = wire_skip_line(s->d->client, SKIP_MAX, deadline);
        if (status != WIRE_OK)
            return pop3_lost_client(s, status);
    }
    return pop3_ask(s, "*\r\n", POP3_LINE);
}

static enum dialogue_end take_turns(struct pop3 *s, bool *cancelled)
{
    enum dialogue_end end = DIALOGUE_GO_ON;
    while (end == DIALOGUE_GO_ON && s->status == POP3_CONTINUE && !*cancelled) {
        end = pop3_pass_reply(s, &s->reply);
        if (end == DIALOGUE_GO_ON)
            end = pop3_flush_client(s);
        if (end == DIALOGUE_GO_ON)
            end = answer_challenge(s, cancelled);
    }
    return end;
}

/* AUTH alone, which was never in an RFC, is answered with a list by some servers and with one line
 * by others: whoever forwards it does not know what to wait for. CAPA tells the mechanisms. */
enum dialogue_end pop3_do_auth(struct pop3 *s, const struct command *c, const struct line *line)
{
    bool cancelled = false;
    if (pop3_login_withheld(s))
        return refuse_in_clear(s);
    if (c->args_len == 0)
        return pop3_refuse(s, "AUTH needs a mechanism");
    if (command_binds_channel(c))
        return pop3_refuse(s, "Mechanism is not available");
    s->touched = true;
    enum dialogue_end end = pop3_forward(s, line, POP3_LINE);
    if (end == DIALOGUE_GO_ON)
        end = take_turns(s, &cancelled);
    if (end != DIALOGUE_GO_ON)
        return end;
    if (cancelled)
        return s->status == POP3_ERR
                   ? pop3_refuse(s, "Authentication line is too long or has bare newlines")
                   : pop3_distrust_backend(s, "did not accept that AUTH was cancelled");
    return s->status == POP3_OK ? pass_welcome(s) : pop3_pass_reply(s, &s->reply);
}
