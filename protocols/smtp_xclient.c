/* SPDX-License-Identifier: ISC */
#include "protocols/smtp_xclient.h"

#include <stdio.h>
#include <string.h>

#include "protocols/dialogue.h"
#include "protocols/smtp_exchange.h"
#include "protocols/smtp_say.h"

enum {
    REPLY_GREETING = 220,
    REPLY_HELLO = 250,
};

static const char remedy[] =
    "the backend must let this machine say XCLIENT (Postfix: smtpd_authorized_xclient_hosts; "
    "Dovecot: login_trusted_networks), for IPv6 clients as well (Postfix: inet_protocols = all); "
    "or write another identity";

/* The backend may go on as it likes, but without us. */
static enum dialogue_end turn_away(struct smtp *s)
{
    smtp_goodbye(s, "4.3.5", "Mail server cannot be told who you are, try again later");
    dialogue_quit_backend(s->d);
    return DIALOGUE_LOST;
}

static enum dialogue_end turn_away_for_reply(struct smtp *s, const char *what)
{
    smtp_because_of_reply(s, what);
    return turn_away(s);
}

/* Where nothing comes because this process is to end, nobody has anything to mend. */
static enum dialogue_end ask(struct smtp *s, const char *command)
{
    enum wire_status why;
    enum smtp_heard heard = smtp_try(s, command, &why);
    if (heard == SMTP_HEARD_REPLY)
        return DIALOGUE_GO_ON;
    if (heard == SMTP_HEARD_NOTHING && why == WIRE_CANCELLED)
        s->d->remedy = NULL;
    return smtp_give_up(s, heard, why);
}

static enum dialogue_end ask_for_offer(struct smtp *s, struct xclient_offer *offer)
{
    char command[300];
    s->d->step = "asking the backend for XCLIENT";
    snprintf(command, sizeof command, "%s %.255s\r\n", s->lmtp ? "LHLO" : "EHLO",
             s->d->policy->hostname);
    enum dialogue_end end = ask(s, command);
    if (end != DIALOGUE_GO_ON)
        return end;
    if (s->reply.code != REPLY_HELLO)
        return turn_away_for_reply(s, "backend refuses our EHLO or LHLO");
    if (xclient_read_offer(&s->reply, offer))
        return DIALOGUE_GO_ON;
    dialogue_because(s->d, "backend does not offer XCLIENT");
    return turn_away(s);
}

static enum dialogue_end tell(struct smtp *s, const struct xclient_offer *offer)
{
    char command[XCLIENT_MAX + 1];
    const char *why;
    s->d->step = "telling the backend who the client is";
    if (xclient_write(offer, &s->d->xclient, command, &why) == 0) {
        dialogue_because(s->d, "XCLIENT is of no use: %s", why);
        return turn_away(s);
    }
    enum dialogue_end end = ask(s, command);
    if (end != DIALOGUE_GO_ON || s->reply.code == REPLY_GREETING)
        return end;
    return turn_away_for_reply(s, "backend refuses XCLIENT");
}

enum dialogue_end smtp_introduce_client(struct smtp *s)
{
    struct xclient_offer offer;
    enum dialogue_end end = smtp_meet_backend(s);
    if (end != DIALOGUE_GO_ON)
        return end;
    s->d->remedy = remedy; /* a busy backend is not one that is set up wrongly */
    end = ask_for_offer(s, &offer);
    if (end == DIALOGUE_GO_ON)
        end = tell(s, &offer);
    if (end == DIALOGUE_GO_ON)
        s->d->remedy = NULL;
    return end;
}
