/* SPDX-License-Identifier: ISC */
#include "protocols/pop3_login.h"

#include "protocols/prelogin_exchange.h"
#include "protocols/prelogin_login.h"
#include "protocols/prelogin_say.h"

static enum dialogue_end forward(struct prelogin *s, const struct line *line)
{
    s->touched = true;
    return prelogin_forward(s, line, FORM_LINE);
}

enum dialogue_end pop3_do_user(struct prelogin *s, const struct command *c, const struct line *line)
{
    (void)c;
    if (prelogin_login_withheld(s))
        return prelogin_refuse_in_clear(s);
    enum dialogue_end end = forward(s, line);
    return end == DIALOGUE_GO_ON ? prelogin_pass_answer(s, &s->reply) : end;
}

enum dialogue_end pop3_do_pass(struct prelogin *s, const struct command *c, const struct line *line)
{
    (void)c;
    if (prelogin_login_withheld(s))
        return prelogin_refuse_in_clear(s);
    enum dialogue_end end = forward(s, line);
    return end == DIALOGUE_GO_ON ? prelogin_pass_verdict(s) : end;
}
