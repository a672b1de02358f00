/* SPDX-License-Identifier: ISC */
#include "protocols/smtp_auth.h"

#include "protocols/dialogue.h"
#include "protocols/smtp_client.h"
#include "protocols/smtp_exchange.h"
#include "protocols/smtp_say.h"

enum {
    REPLY_AUTH_CONTINUE = 334,
    REPLY_AUTH_DONE = 235,
};

bool smtp_auth_withheld(const struct smtp *s)
{
    const struct policy *p = s->d->policy;
    return !smtp_is_secured(s) && !p->auth_before_tls && p->tls_level != TLS_LEVEL_NONE;
}

bool smtp_auth_hidden(const struct smtp *s)
{
    return s->d->login != NULL || smtp_auth_withheld(s);
}

/* The client's answer to a 334, or a cancellation in its place if it is no line. */
static enum dialogue_end answer_challenge(struct smtp *s, bool *cancelled)
{
    struct line line;
    enum wire_status status = wire_getline(s->d->client, s->d->policy->max_command,
                                           dialogue_client_deadline(s->d, s->decided), &line);
    if (status == WIRE_OK && dialogue_ends_clearly(s->d, &line))
        return smtp_forward(s, &line);
    if (status != WIRE_OK && status != WIRE_TOOLONG)
        return smtp_lost_client(s, status);
    *cancelled = true;
    if (status == WIRE_TOOLONG) {
        status = wire_skip_line(s->d->client, SKIP_MAX, dialogue_client_deadline(s->d, s->decided));
        if (status != WIRE_OK)
            return smtp_lost_client(s, status);
    }
    return smtp_ask(s, "*\r\n");
}

/* Who asked for TLS, and did not get it, may get it the next time: temporary (RFC 4954 §6). */
static enum dialogue_end refuse_in_clear(struct smtp *s)
{
    if (s->requesting)
        return smtp_refuse(s, 454, "4.7.0", "No TLS to the mail server: no password is sent there");
    return smtp_refuse(s, 530, "5.7.0", "Must issue a STARTTLS command first");
}

enum dialogue_end smtp_do_auth(struct smtp *s, const struct command *c, const struct line *line)
{
    bool cancelled = false;
    if (s->d->login != NULL) /* RFC 4954 §4: there is one in a session, and it was ours */
        return smtp_refuse(s, 503, "5.5.1", "Already authenticated");
    if (smtp_auth_withheld(s))
        return refuse_in_clear(s);
    if (command_binds_channel(c))
        return smtp_refuse(s, 504, "5.5.4", "Mechanism is not available");
    enum dialogue_end end = smtp_forward(s, line);
    while (end == DIALOGUE_GO_ON && s->reply.code == REPLY_AUTH_CONTINUE && !cancelled) {
        end = smtp_pass_reply(s, &s->reply);
        if (end != DIALOGUE_GO_ON)
            return end;
        end = smtp_flush_client(s);
        if (end != DIALOGUE_GO_ON)
            return end;
        end = answer_challenge(s, &cancelled);
    }
    if (end != DIALOGUE_GO_ON)
        return end;
    if (cancelled) {
        if (s->reply.code == REPLY_CLOSING)
            return smtp_pass_reply(s, &s->reply);
        return s->reply.code / 100 == 5
                   ? smtp_refuse(s, 500, "5.5.6",
                                 "Authentication line is too long or has bare newlines")
                   : smtp_distrust_backend(s, "did not accept that AUTH was cancelled");
    }
    if (s->reply.code / 100 == 3)
        return smtp_distrust_backend(s, "answered AUTH with a code that has no meaning there");
    if (s->reply.code == REPLY_AUTH_DONE) {
        s->authenticated = true;
        s->decided = true;
    } else {
        s->useless++;
    }
    return smtp_pass_reply(s, &s->reply);
}
