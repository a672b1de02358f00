/* SPDX-License-Identifier: ISC */
#include "protocols/pop3_xclient.h"

#include <stdio.h>

#include "protocols/dialogue.h"
#include "protocols/pop3_exchange.h"
#include "protocols/pop3_say.h"

static const char remedy[] =
    "the backend must let this machine say XCLIENT (Dovecot: login_trusted_networks); or write "
    "another identity";

/* The backend may go on as it likes, but without us. */
static enum dialogue_end turn_away(struct pop3 *s)
{
    pop3_goodbye(s, "Mail server cannot be told who you are, try again later");
    dialogue_quit_backend(s->d);
    return DIALOGUE_LOST;
}

/* Where nothing comes because this process is to end, nobody has anything to mend. */
static enum dialogue_end ask(struct pop3 *s, const char *command)
{
    enum wire_status why;
    enum pop3_heard heard = pop3_try(s, command, POP3_LINE, &why);
    if (heard == POP3_HEARD_REPLY)
        return DIALOGUE_GO_ON;
    if (heard == POP3_HEARD_NOTHING && why == WIRE_CANCELLED)
        s->d->remedy = NULL;
    return pop3_give_up(s, heard, why);
}

/* IPv6 addresses have no prefix here. */
static enum dialogue_end tell(struct pop3 *s)
{
    char command[128];
    const struct xclient_facts *x = &s->d->xclient;
    if (x->address == NULL || x->address[0] == '\0' || x->port == NULL) {
        dialogue_because(s->d, "XCLIENT is of no use: the client has no address");
        return turn_away(s);
    }
    snprintf(command, sizeof command, "XCLIENT ADDR=%.64s PORT=%.8s\r\n", x->address, x->port);
    enum dialogue_end end = ask(s, command);
    if (end != DIALOGUE_GO_ON || s->status == POP3_OK)
        return end;
    dialogue_because_of(s->d, "backend refuses XCLIENT", s->reply.bytes, s->reply.len);
    return turn_away(s);
}

enum dialogue_end pop3_introduce_client(struct pop3 *s)
{
    enum dialogue_end end = pop3_meet_backend(s);
    if (end != DIALOGUE_GO_ON)
        return end;
    s->d->step = "telling the backend who the client is";
    s->d->remedy = remedy; /* a busy backend is not one that is set up wrongly */
    if (!pop3_greeting_takes_xclient(s->reply.bytes, s->reply.len)) {
        dialogue_because(s->d, "backend does not offer XCLIENT");
        return turn_away(s);
    }
    pop3_edit_greeting(s->reply.bytes, s->reply.len, pop3_login_withheld(s), &s->edited);
    end = tell(s);
    if (end == DIALOGUE_GO_ON)
        s->d->remedy = NULL;
    return end;
}
