/* SPDX-License-Identifier: ISC */
#include "protocols/prelogin_xclient.h"

#include <stdio.h>

#include "protocols/dialogue.h"
#include "protocols/prelogin_exchange.h"
#include "protocols/prelogin_say.h"

static const char remedy[] =
    "the backend must let this machine say XCLIENT (Dovecot: login_trusted_networks); or write "
    "another identity";

/* The backend may go on as it likes, but without us. */
static enum dialogue_end turn_away(struct prelogin *s)
{
    prelogin_goodbye(s, "Mail server cannot be told who you are, try again later");
    prelogin_quit_backend(s);
    return DIALOGUE_LOST;
}

/* Where nothing comes because this process is to end, nobody has anything to mend. */
static enum dialogue_end ask(struct prelogin *s, const char *command)
{
    enum wire_status why;
    enum heard heard = prelogin_try(s, command, FORM_LINE, &why);
    if (heard == HEARD_REPLY)
        return DIALOGUE_GO_ON;
    if (heard == HEARD_NOTHING && why == WIRE_CANCELLED)
        s->d->remedy = NULL;
    return prelogin_give_up(s, heard, why);
}

/* IPv6 addresses have no prefix here. */
static enum dialogue_end tell(struct prelogin *s)
{
    char command[128];
    const struct xclient_facts *x = &s->d->xclient;
    if (x->address == NULL || x->address[0] == '\0' || x->port == NULL) {
        dialogue_because(s->d, "XCLIENT is of no use: the client has no address");
        return turn_away(s);
    }
    snprintf(command, sizeof command, "XCLIENT ADDR=%.64s PORT=%.8s", x->address, x->port);
    enum dialogue_end end = ask(s, command);
    if (end != DIALOGUE_GO_ON || s->status == ANSWER_OK)
        return end;
    dialogue_because_of(s->d, "backend refuses XCLIENT", s->reply.bytes, s->reply.len);
    return turn_away(s);
}

enum dialogue_end prelogin_introduce_client(struct prelogin *s)
{
    enum dialogue_end end = prelogin_meet_backend(s);
    if (end != DIALOGUE_GO_ON)
        return end;
    s->d->step = "telling the backend who the client is";
    s->d->remedy = remedy; /* a busy backend is not one that is set up wrongly */
    if (!s->words->takes_xclient(s)) {
        dialogue_because(s->d, "backend does not offer XCLIENT");
        return turn_away(s);
    }
    end = tell(s);
    if (end != DIALOGUE_GO_ON)
        return end;
    s->d->remedy = NULL;
    return s->words->introduced != NULL ? s->words->introduced(s) : DIALOGUE_GO_ON;
}
