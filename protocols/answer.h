/* SPDX-License-Identifier: ISC
 *
 * What kind of answer a server of mailboxes has given, whatever its words are.
 */
#ifndef PROTOCOLS_ANSWER_H
#define PROTOCOLS_ANSWER_H

enum answer {
    ANSWER_OK,
    ANSWER_NO,
    ANSWER_BYE,      /* no, and it closes the connection; POP3 does not tell these apart */
    ANSWER_CONTINUE, /* go on with the login: a challenge */
    ANSWER_NONSENSE, /* none of them */
};

#endif
