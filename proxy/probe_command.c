/* SPDX-License-Identifier: ISC */
#include "proxy/probe_command.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sysexits.h>

#include "proxy/address.h"
#include "proxy/login.h"
#include "proxy/options.h"

enum {
    DAYS_MAX = 3650,
};
static const char default_seconds[] = "30";

static const char usage[] =
    "usage: ehlock probe HOST[:PORT] [--protocol NAME] [--implicit-tls]\n"
    "                    [--level LEVEL] [--match NAME] [--pin PIN] [--CAfile FILE] [...]\n"
    "       ehlock probe --config FILE --service SERVICE [HOST[:PORT] | --login] [...]\n"
    "  --protocol NAME    smtp (default), lmtp, pop3, managesieve; none: TLS from the first byte\n"
    "  --implicit-tls     TLS from the first byte (default port of smtp: 465)\n"
    "  --level LEVEL      none, may, encrypt, fingerprint, verify, secure, dane or dane-only\n"
    "                     (default secure, or fingerprint with --pin)\n"
    "  --match NAME       name that the certificate has to have (default HOST); may be repeated\n"
    "  --pin PIN          sha256:DIGEST or spki-sha256:DIGEST it has to have; may be repeated\n"
    "  --CAfile FILE      authorities to trust (default: the system's)\n"
    "  --config FILE, --service SERVICE\n"
    "                     do what this service with client = yes does; HOST in place of connect\n"
    "  --timeout SECONDS  for the connection, and for all until TLS (default 30)\n"
    "  --days N           certificates that expire within N days do not meet the level\n"
    "  --all              each address by itself, not only up to the first that would serve\n"
    "  --login            log in as the service does, if the server is what is demanded\n"
    "  -4, -6             IPv4 or IPv6 addresses only\n"
    "  --brief            print the one line with the result only\n"
    "exit status: 0 the level is met by one server, 1 it is not, 2 not reached or no answer\n"
    "             (of several that fail, the last one's), 64 usage, 78 configuration\n";

/* ---- the command line ---- */

static bool say(struct probe_command *w, const struct probe_said *line)
{
    if (w->n_lines == PROBE_LINES_MAX)
        return false;
    w->lines[w->n_lines++] = *line;
    return true;
}

static bool say_option(struct probe_command *w, const char *flag, const char *option,
                       const char *value)
{
    return say(w, &(struct probe_said){.flag = flag, .option = option, .value = value});
}

static bool say_first(struct probe_command *w, const char *flag, const char *option,
                      const char *value)
{
    return say(w, &(struct probe_said){
                      .flag = flag, .option = option, .value = value, .before_section = true});
}

static bool read_days(const char *text, unsigned *days)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    *days = (unsigned)n;
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && n <= DAYS_MAX;
}

static bool take_option(struct probe_command *w, int o)
{
    switch (o) {
    case '4':
        w->family = AF_INET;
        return true;
    case '6':
        w->family = AF_INET6;
        return true;
    case 'a':
        w->all = true;
        return true;
    case 'b':
        w->brief = true;
        return true;
    case 'C':
        return say_first(w, "--CAfile", "CAfile", optarg);
    case 'c':
        w->config = optarg;
        return true;
    case 'd':
        return read_days(optarg, &w->days);
    case 'i':
        return say_option(w, "--implicit-tls", "implicitTls", "yes");
    case 'L':
        w->login = true;
        return true;
    case 'l':
        return say_option(w, "--level", "tlsLevel", optarg);
    case 'm':
        return say_first(w, "--match", "checkHost", optarg);
    case 'p':
        return say_option(w, "--pin", "verifyPeer", optarg);
    case 'P':
        w->protocol = optarg;
        return strcasecmp(optarg, "none") == 0 || say_option(w, "--protocol", "protocol", optarg);
    case 's':
        w->service = optarg;
        return true;
    case 't':
        w->seconds = optarg;
        return true;
    default:
        return false;
    }
}

/* A line end would be one of the configuration. */
static bool is_plain(int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        for (const char *c = argv[i]; *c != '\0'; c++)
            if ((unsigned char)*c < ' ' || *c == 0x7f)
                return false;
    return true;
}

static const struct option options[] = {
    {"CAfile", required_argument, NULL, 'C'},
    {"all", no_argument, NULL, 'a'},
    {"brief", no_argument, NULL, 'b'},
    {"days", required_argument, NULL, 'd'},
    {"config", required_argument, NULL, 'c'},
    {"help", no_argument, NULL, 'h'},
    {"implicit-tls", no_argument, NULL, 'i'},
    {"level", required_argument, NULL, 'l'},
    {"login", no_argument, NULL, 'L'},
    {"match", required_argument, NULL, 'm'},
    {"pin", required_argument, NULL, 'p'},
    {"protocol", required_argument, NULL, 'P'},
    {"service", required_argument, NULL, 's'},
    {"timeout", required_argument, NULL, 't'},
    {0},
};

static bool parse(int argc, char **argv, struct probe_command *w)
{
    int o;
    *w = (struct probe_command){.family = AF_UNSPEC};
    while ((o = getopt_long(argc, argv, "46h", options, NULL)) != -1) {
        if (o == 'h') {
            fputs(usage, stdout);
            exit(0);
        }
        if (!take_option(w, o))
            return false;
    }
    w->host = argv[optind];
    return is_plain(argc, argv) && argc - optind <= 1;
}

/* A login is for the servers of a service: a password for one is not told to a HOST that was
 * mistyped, nor to each address in turn, which is how accounts are locked. NULL, or what is wrong.
 */
static const char *check_login(const struct probe_command *w)
{
    if (!w->login)
        return NULL;
    if (w->config == NULL)
        return "--login is for a service that logs in: write --config FILE --service SERVICE";
    if (w->host != NULL)
        return "--login is for the servers that the service has in connect: leave HOST out";
    return w->all ? "--login is for the one server that would serve: leave --all out" : NULL;
}

static const char *check_words(const struct probe_command *w)
{
    if ((w->config != NULL) != (w->service != NULL))
        return "--config FILE and --service SERVICE belong together";
    if (w->config == NULL && w->host == NULL)
        return "which host? write HOST[:PORT]";
    return check_login(w);
}

/* What contradicts itself. False: it has been told. */
static bool check(const struct probe_command *w)
{
    const char *wrong = check_words(w);
    if (wrong != NULL)
        fprintf(stderr, "ehlock probe: %s\n", wrong);
    else if (w->config != NULL && (w->n_lines > 0 || w->protocol != NULL))
        fprintf(stderr, "ehlock probe: with --config it is for the service to say: leave %s out\n",
                w->n_lines > 0 ? w->lines[0].flag : "--protocol");
    else
        return true;
    return false;
}

int probe_command_parse(int argc, char **argv, struct probe_command *w)
{
    if (!parse(argc, argv, w)) {
        fputs(usage, stderr);
        return EX_USAGE;
    }
    return check(w) ? 0 : EX_USAGE;
}

/* ---- the service ---- */

/* "--match:1: ..." stems from one option of the command, where lines have no number. Warnings are
 * for --check. */
static void complain(void *ctx, bool is_error, const char *sentence)
{
    const char *rest = strncmp(sentence, "--", 2) == 0 ? strstr(sentence, ":1: ") : NULL;
    (void)ctx;
    if (is_error)
        fprintf(stderr, "ehlock probe: %.*s%s\n",
                rest != NULL ? (int)(rest - sentence) : (int)strlen(sentence), sentence,
                rest != NULL ? rest + 2 : "");
}

static bool add_line(struct config *c, const struct probe_said *s)
{
    char text[4096];
    int n = snprintf(text, sizeof text, "%s = %s\n", s->option, s->value);
    return n > 0 && (size_t)n < sizeof text && config_parse(c, text, (size_t)n, s->flag);
}

/* HOST, HOST:PORT, ADDRESS, [ADDRESS]:PORT or /path as `connect` has it. False: there is no port to
 * take, which has been told. */
static bool compose(const char *host, const struct protocol *p, bool implicit_tls, char *out,
                    size_t size)
{
    size_t len = strlen(host);
    unsigned port = p == NULL ? 0 : implicit_tls ? p->tls_port : p->port;
    bool bare_v6 = strchr(host, ':') != NULL && address_is_literal(host);
    bool has_port = !bare_v6 && strchr(host, ':') != NULL && host[len - 1] != ']';
    int n;
    if (host[0] == '/' || has_port)
        n = snprintf(out, size, "%s", host);
    else
        n = snprintf(out, size, bare_v6 ? "[%s]:%u" : "%s:%u", host, port);
    if (port == 0 && host[0] != '/' && !has_port)
        fprintf(stderr, "ehlock probe: which port? write HOST:PORT\n");
    else if (len == 0 || n < 0 || (size_t)n >= size)
        fprintf(stderr, "ehlock probe: \"%.80s\" is not HOST[:PORT]\n", host);
    else
        return true;
    return false;
}

static struct service *find_service(struct config *c, const char *name)
{
    for (size_t i = 0; i < c->n_services; i++)
        if (strcasecmp(c->services[i].name, name) == 0 && c->services[i].client)
            return &c->services[i];
    fprintf(stderr, "ehlock probe: there is no service [%s] with client = yes in the file\n", name);
    return NULL;
}

/* In place of whatever is there. */
static bool set(struct service *s, const char *flag, const char *option, const char *value)
{
    const char *wrong = option_set(option_find(option), s, value, flag);
    if (wrong != NULL)
        fprintf(stderr, "ehlock probe: %s: %s %s\n", flag, option, wrong);
    return wrong == NULL;
}

static bool set_seconds(struct service *s, const char *seconds)
{
    return set(s, "--timeout", "TIMEOUTconnect", seconds) &&
           set(s, "--timeout", "TIMEOUThandshake", seconds) &&
           set(s, "--timeout", "TIMEOUTbusy", seconds) &&
           set(s, "--timeout", "TIMEOUTpretls", seconds);
}

/* In place of `connect`, or of what a redirected client says. */
static bool set_destination(struct service *s, const char *host, struct probe_command *w)
{
    const struct protocol *p = s->protocol_name != NULL ? protocol_find(s->protocol_name) : NULL;
    if (s->protocol_name != NULL && p == NULL) {
        fprintf(stderr, "ehlock probe: the protocol %s is not known\n", s->protocol_name);
        return false;
    }
    if (!compose(host, p, s->implicit_tls == IMPLICIT_YES, w->destination, sizeof w->destination))
        return false;
    if (s->redirection == REDIRECTION_DESTINATION)
        return true;
    s->connect.inherited = true; /* the next value replaces all */
    return set(s, "HOST", "connect", w->destination);
}

static bool add_lines(struct config *c, const struct probe_command *w, bool before_section)
{
    bool ok = true;
    for (size_t i = 0; i < w->n_lines; i++)
        if (w->lines[i].before_section == before_section)
            ok = add_line(c, &w->lines[i]) && ok;
    return ok;
}

static bool write_service(struct config *c, const struct probe_command *w)
{
    static const struct probe_said client = {"command line", "client", "yes", false};
    static const struct probe_said smtp = {"--protocol", "protocol", "smtp", false};
    bool ok = add_lines(c, w, true);
    ok = config_parse(c, "[probe]\n", 8, "command line") && ok;
    ok = add_line(c, &client) && ok;
    if (w->protocol == NULL)
        ok = add_line(c, &smtp) && ok;
    return add_lines(c, w, false) && ok;
}

static bool has_host(const struct service *s, const struct probe_command *w)
{
    if (w->host != NULL || s->redirection != REDIRECTION_DESTINATION)
        return true;
    fprintf(stderr,
            "ehlock probe: which host? with transparent = destination it is the client who says: "
            "write HOST[:PORT]\n");
    return false;
}

/* Without --login nobody needs to be able to read the secret. */
static bool settle_login(struct service *s, struct probe_command *w)
{
    if (!w->login) {
        w->skips_login = login_leave_out(s);
        return true;
    }
    if (s->login_username == NULL)
        fprintf(stderr,
                "ehlock probe: [%s] does not log in: leave --login out, or write protocolUsername "
                "= NAME there\n",
                s->name);
    return s->login_username != NULL;
}

int probe_command_configure(struct config *c, struct probe_command *w)
{
    c->complain = complain;
    c->no_accept = NO_ACCEPT_FINE;
    if (w->config != NULL ? !config_read(c, w->config) : !write_service(c, w))
        return EX_CONFIG;
    struct service *s = w->config != NULL ? find_service(c, w->service) : &c->services[0];
    if (s == NULL)
        return EX_USAGE;
    const char *seconds = w->seconds != NULL  ? w->seconds
                          : w->config == NULL ? default_seconds
                                              : NULL;
    if ((seconds != NULL && !set_seconds(s, seconds)) ||
        (w->host != NULL && !set_destination(s, w->host, w)) || !has_host(s, w))
        return EX_USAGE;
    c->only = s;
    if (config_check(c))
        return settle_login(s, w) ? 0 : EX_USAGE;
    if (w->config == NULL)
        fputs("ehlock probe: here tlsLevel is --level, checkHost is --match, verifyPeer is --pin, "
              "and connect is HOST:PORT\n",
              stderr);
    return EX_CONFIG;
}
