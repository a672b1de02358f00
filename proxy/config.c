/* SPDX-License-Identifier: ISC */
#include "proxy/config.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "protocols/memory.h"
#include "proxy/address.h"
#include "proxy/clientcert.h"
#include "proxy/config_original.h"
#include "proxy/config_rules.h"
#include "proxy/demand.h"
#include "proxy/nexthop.h"
#include "proxy/environment.h"
#include "proxy/log.h"
#include "proxy/login.h"
#include "proxy/options.h"
#include "proxy/via.h"

enum {
    INCLUDE_DEPTH = 4,
    FILE_MAX = 1024 * 1024, /* bytes: a larger one is not a configuration */
    LINE_LENGTH = 4096,
};

/* ---- complaints ---- */

__attribute__((format(printf, 4, 0))) static void
tell(struct config *c, bool is_error, const char *where, const char *format, va_list ap)
{
    char text[1024], sentence[1400];
    vsnprintf(text, sizeof text, format, ap);
    snprintf(sentence, sizeof sentence, "%s%s%s", where != NULL ? where : "",
             where != NULL ? ": " : "", text);
    if (is_error)
        c->errors++;
    else
        c->warnings++;
    if (c->complain != NULL)
        c->complain(c->complain_ctx, is_error, sentence);
    else if (is_error)
        log_error("%s", sentence);
    else
        log_warn("%s", sentence);
}

void config_error(struct config *c, const char *where, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    tell(c, true, where, format, ap);
    va_end(ap);
}

void config_warn(struct config *c, const char *where, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    tell(c, false, where, format, ap);
    va_end(ap);
}

/* ---- life ---- */

void config_init(struct config *c)
{
    *c = (struct config){0};
    options_init(c, SCOPE_GLOBAL);
    options_init(&c->defaults, SCOPE_SERVICE);
}

static void finish_service(struct service *s)
{
    demands_finish(s);
    client_demand_finish(s);
    login_finish(s);
    options_finish(s, SCOPE_SERVICE);
    for (size_t i = 0; i < s->hide.count; i++)
        pattern_destroy(s->hide.items[i]);
    free(s->hide.items);
    arguments_finish(&s->exec_arguments);
    arguments_finish(&s->token_arguments);
    free(s->balancers.items);
    config_free_rules(s);
    free(s->name);
    free(s->where);
    *s = (struct service){0};
}

void config_finish(struct config *c)
{
    for (size_t i = 0; i < c->n_services; i++)
        finish_service(&c->services[i]);
    free(c->services);
    for (size_t i = 0; i < c->n_origins; i++)
        free(c->origins[i].where);
    free(c->origins);
    finish_service(&c->defaults);
    options_finish(c, SCOPE_GLOBAL);
    *c = (struct config){0};
}

/* ---- reading ---- */

struct parser {
    struct config *config;
    const char *file;
    unsigned line;
    int depth;
    char where[512];
};

static bool read_file(struct config *c, const char *path, int depth, const char *from);

static char *trim(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    size_t n = strlen(text);
    while (n > 0 && isspace((unsigned char)text[n - 1]))
        text[--n] = '\0';
    return text;
}

static void begin_section(struct parser *p, char *text)
{
    struct config *c = p->config;
    size_t n = strlen(text);
    if (text[n - 1] != ']' || n < 3) {
        config_error(c, p->where, "a section is written [name]");
        return;
    }
    text[n - 1] = '\0';
    char *name = trim(text + 1);
    if (*name == '\0') {
        config_error(c, p->where, "a section is written [name]");
        return;
    }
    for (char *q = name; *q != '\0'; q++) {
        if (isalnum((unsigned char)*q) || strchr("-_.", *q) != NULL)
            continue;
        config_error(c, p->where, "a section's name has letters, digits, '-', '_' and '.' only");
        return;
    }
    for (size_t i = 0; i < c->n_services; i++)
        if (strcasecmp(c->services[i].name, name) == 0)
            config_error(c, p->where, "section [%s] is there already, at %s", name,
                         c->services[i].where);
    c->services = memory_resize(c->services, (c->n_services + 1) * sizeof *c->services);
    struct service *s = &c->services[c->n_services++];
    *s = (struct service){.name = memory_strdup(name), .where = memory_strdup(p->where)};
    options_inherit(s, &c->defaults);
}

/* A second value would silently win over the first, from whatever file it comes. */
static bool is_second(const struct config *c, const struct option_row *row)
{
    if (row->type == OPTION_LIST || row->type == OPTION_FILES || row->type == OPTION_INCLUDE ||
        row->type == OPTION_NOTHING)
        return false;
    for (size_t i = 0; i < c->n_origins; i++)
        if (c->origins[i].row == row && c->origins[i].service == (int)c->n_services - 1)
            return true;
    return false;
}

static int is_part(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

static void include_directory(struct parser *p, const char *directory)
{
    struct dirent **names;
    int n = scandir(directory, &names, is_part, alphasort);
    if (n < 0) {
        config_error(p->config, p->where, "cannot read the directory %s: %s", directory,
                     strerror(errno));
        return;
    }
    for (int i = 0; i < n; i++) {
        char path[4096];
        if (snprintf(path, sizeof path, "%s/%s", directory, names[i]->d_name) < (int)sizeof path)
            (void)read_file(p->config, path, p->depth + 1, p->where);
        free(names[i]);
    }
    free(names);
}

static void remember_origin(struct parser *p, const struct option_row *row)
{
    struct config *c = p->config;
    c->origins = memory_resize(c->origins, (c->n_origins + 1) * sizeof *c->origins);
    c->origins[c->n_origins++] = (struct origin){
        .service = (int)c->n_services - 1, .row = row, .where = memory_strdup(p->where)};
}

const char *config_where(const struct config *c, const struct service *s, const char *option)
{
    int service = s != NULL ? (int)(s - c->services) : -1;
    const char *found = s != NULL ? s->where : "ehlock";
    for (size_t i = 0; i < c->n_origins; i++) {
        const struct origin *o = &c->origins[i];
        if (strcasecmp(o->row->name, option) != 0)
            continue;
        if (o->service == service)
            return o->where;
        if (o->service == -1)
            found = o->where;
    }
    return found;
}

enum config_origin config_origin(const struct config *c, const struct service *s,
                                 const char *option)
{
    enum config_origin found = ORIGIN_NOWHERE;
    for (size_t i = 0; i < c->n_origins; i++) {
        const struct origin *o = &c->origins[i];
        if (strcasecmp(o->row->name, option) != 0)
            continue;
        if (o->service == (int)(s - c->services))
            return ORIGIN_SECTION;
        if (o->service == -1)
            found = ORIGIN_DEFAULTS;
    }
    return found;
}

bool service_is_bundle(const struct service *s)
{
    return s->sni != NULL && !s->client;
}

static void set_option(struct parser *p, const char *name, const char *value)
{
    struct config *c = p->config;
    const struct option_row *row = option_find(name);
    if (row == NULL) {
        config_error(c, p->where, "there is no option \"%.64s\"; see ehlock --help", name);
        return;
    }
    if (row->scope == SCOPE_GLOBAL && c->n_services > 0 && row->type != OPTION_INCLUDE &&
        row->type != OPTION_NOTHING && row->type != OPTION_GONE) {
        config_error(c, p->where, "%s belongs before the first [section]", row->name);
        return;
    }
    if (is_second(p->config, row)) {
        config_error(c, p->where, "%s is given twice", row->name);
        return;
    }
    if (row->type == OPTION_INCLUDE) {
        include_directory(p, value);
        return;
    }
    void *base = row->scope == SCOPE_GLOBAL ? (void *)c
                 : c->n_services > 0        ? (void *)&c->services[c->n_services - 1]
                                            : (void *)&c->defaults;
    const char *wrong = option_set(row, base, value, p->where);
    remember_origin(p, row);
    if (wrong != NULL)
        config_error(c, p->where, row->type == OPTION_GONE ? "%s: %s" : "%s %s", row->name, wrong);
}

static void parse_line(struct parser *p, char *line)
{
    char *text = trim(line);
    if (*text == '\0' || *text == ';' || *text == '#')
        return;
    if (*text == '[') {
        begin_section(p, text);
        return;
    }
    char *equals = strchr(text, '=');
    if (equals == NULL) {
        config_error(p->config, p->where,
                     "this line is neither \"name = value\" nor \"[section]\"");
        return;
    }
    *equals = '\0';
    set_option(p, trim(text), trim(equals + 1));
}

static void parse_text(struct parser *p, const char *text, size_t len)
{
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) { /* a mark that editors put there */
        text += 3;
        len -= 3;
    }
    while (len > 0) {
        char line[LINE_LENGTH];
        const char *lf = memchr(text, '\n', len);
        size_t n = lf != NULL ? (size_t)(lf - text) : len;
        p->line++;
        snprintf(p->where, sizeof p->where, "%.400s:%u", p->file, p->line);
        if (n >= sizeof line) {
            config_error(p->config, p->where, "the line is longer than %d bytes", LINE_LENGTH - 1);
        } else if (memchr(text, '\0', n) != NULL) {
            config_error(p->config, p->where, "the line holds a NUL byte");
        } else {
            memcpy(line, text, n);
            line[n] = '\0';
            parse_line(p, line);
            explicit_bzero(line, n); /* it may be a password */
        }
        n += lf != NULL;
        text += n;
        len -= n;
    }
}

static bool read_file(struct config *c, const char *path, int depth, const char *from)
{
    struct parser p = {.config = c, .file = path, .depth = depth};
    if (depth > INCLUDE_DEPTH) {
        config_error(c, from, "includes are nested deeper than %d", INCLUDE_DEPTH);
        return false;
    }
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        config_error(c, from, "cannot read %s: %s", path, strerror(errno));
        return false;
    }
    char *text = memory_alloc(FILE_MAX + 1);
    setvbuf(f, NULL, _IONBF, 0); /* the only copy is ours, and is wiped */
    size_t len = fread(text, 1, FILE_MAX + 1, f);
    int failed = ferror(f) ? errno : 0;
    fclose(f);
    if (failed != 0)
        config_error(c, from, "cannot read %s: %s", path, strerror(failed));
    else if (len > FILE_MAX)
        config_error(c, from, "%s is larger than %d bytes", path, FILE_MAX);
    else
        parse_text(&p, text, len);
    explicit_bzero(text, len);
    free(text);
    return c->errors == 0;
}

bool config_read(struct config *c, const char *path)
{
    return read_file(c, path, 0, NULL);
}

bool config_parse(struct config *c, const char *text, size_t len, const char *name)
{
    struct parser p = {.config = c, .file = name};
    parse_text(&p, text, len);
    return c->errors == 0;
}

/* ---- checking ---- */

static bool word_in(const char *word, size_t len, const char *const *words, int *index)
{
    for (int i = 0; words[i] != NULL; i++) {
        if (strlen(words[i]) == len && strncasecmp(words[i], word, len) == 0) {
            *index = i;
            return true;
        }
    }
    return false;
}

/* [facility.]level as in stunnel and syslog.conf(5). */
static void check_debug(struct config *c)
{
    static const char *const levels[] = {"emerg",  "alert", "crit",  "err", "warning",
                                         "notice", "info",  "debug", NULL};
    static const char *const facilities[] = {
        "auth",   "authpriv", "cron",   "daemon", "ftp",    "kern",   "local0",
        "local1", "local2",   "local3", "local4", "local5", "local6", "local7",
        "lpr",    "mail",     "news",   "syslog", "user",   "uucp",   NULL};
    static const int codes[] = {LOG_AUTH,   LOG_AUTHPRIV, LOG_CRON,   LOG_DAEMON, LOG_FTP,
                                LOG_KERN,   LOG_LOCAL0,   LOG_LOCAL1, LOG_LOCAL2, LOG_LOCAL3,
                                LOG_LOCAL4, LOG_LOCAL5,   LOG_LOCAL6, LOG_LOCAL7, LOG_LPR,
                                LOG_MAIL,   LOG_NEWS,     LOG_SYSLOG, LOG_USER,   LOG_UUCP};
    const char *dot = strchr(c->debug, '.');
    const char *level = dot != NULL ? dot + 1 : c->debug;
    int n = 3; /* daemon */
    if (dot != NULL && !word_in(c->debug, (size_t)(dot - c->debug), facilities, &n))
        config_error(c, config_where(c, NULL, "debug"),
                     "debug: \"%s\" does not begin with a syslog facility", c->debug);
    c->log_facility = codes[n];
    if (level[0] >= '0' && level[0] <= '7' && level[1] == '\0')
        c->log_level = level[0] - '0';
    else if (!word_in(level, strlen(level), levels, &c->log_level))
        config_error(c, config_where(c, NULL, "debug"),
                     "debug: \"%s\" is no level from 0 to 7 or emerg to debug", level);
}

static void check_addresses(struct config *c, const struct service *s)
{
    char error[256];
    struct nexthop to;
    if (s->local != NULL && !address_is_literal(s->local))
        config_error(c, config_where(c, s, "local"), "local: \"%s\" is not an IP address",
                     s->local);
    for (size_t i = 0; i < s->accept.count; i++)
        if (!address_is_valid(s->accept.items[i].text, error, sizeof error))
            config_error(c, s->accept.items[i].where, "accept: %s", error);
    for (size_t i = 0; i < s->connect.count; i++)
        if (!nexthop_parse(s->connect.items[i].text, &to, error, sizeof error))
            config_error(c, s->connect.items[i].where, "connect: %s", error);
}

/* Of two services on one address only one could be bound. */
static void check_taken(struct config *c, const struct service *s)
{
    for (const struct service *other = c->services; other < s; other++)
        for (size_t i = 0; i < s->accept.count; i++)
            for (size_t k = 0; !service_is_bundle(other) && k < other->accept.count; k++)
                if (address_is_same(s->accept.items[i].text, other->accept.items[k].text))
                    config_error(c, s->accept.items[i].where,
                                 "accept = %s: [%s] listens there already, see %s",
                                 s->accept.items[i].text, other->name,
                                 other->accept.items[k].where);
}

static void check_protocol(struct config *c, struct service *s)
{
    if (s->protocol_name == NULL) {
        s->implicit_tls = IMPLICIT_YES;
        return;
    }
    s->protocol = protocol_find(s->protocol_name);
    if (s->protocol == NULL)
        config_error(c, config_where(c, s, "protocol"),
                     "protocol = %s is not known here; lmtp, managesieve, pop3 and smtp are%s",
                     s->protocol_name,
                     strcasecmp(s->protocol_name, "connect") == 0 ? " (a proxy is via = "
                                                                    "http://HOST:PORT)"
                     : strcasecmp(s->protocol_name, "socks") == 0 ? " (a proxy is via = "
                                                                    "socks5://HOST:PORT)"
                                                                  : "");
}

static void compile_patterns(struct config *c, struct service *s)
{
    char error[256];
    s->hide.items = memory_alloc((s->hide_capability.count + 1) * sizeof *s->hide.items);
    for (size_t i = 0; i < s->hide_capability.count; i++) {
        const struct value *v = &s->hide_capability.items[i];
        struct pattern *p = pattern_create(v->text, error, sizeof error);
        if (p == NULL)
            config_error(c, v->where, "hideCapability: %s", error);
        else
            s->hide.items[s->hide.count++] = p;
    }
}

static void parse_networks(struct config *c, struct service *s)
{
    s->balancers.items = memory_alloc((s->accept_proxy.count + 1) * sizeof *s->balancers.items);
    for (size_t i = 0; i < s->accept_proxy.count; i++) {
        const struct value *v = &s->accept_proxy.items[i];
        struct network *n = &s->balancers.items[s->balancers.count];
        const char *wrong = network_parse(v->text, n);
        if (wrong != NULL) {
            config_error(c, v->where, "acceptProxy: \"%s\" %s", v->text, wrong);
            continue;
        }
        s->balancers.count++;
        if (n->bits == 0)
            config_warn(c, v->where,
                        "acceptProxy = %s: everybody may claim to be anybody; write the addresses "
                        "of the balancers",
                        v->text);
    }
}

static void check_key_file(struct config *c, const struct value *v)
{
    struct stat st;
    if (stat(v->text, &st) == 0 && (st.st_mode & (S_IROTH | S_IWOTH)))
        config_warn(c, v->where, "everybody on this machine can read the key in %s: chmod o= %s",
                    v->text, v->text);
}

static void check_certificates(struct config *c, const struct service *s)
{
    if (s->cert.count == 0 && s->tls_level != TLS_LEVEL_NONE && !s->client)
        config_error(c, s->where, "[%s] needs cert = FILE (and key = FILE) to offer TLS", s->name);
    if (s->key.count > s->cert.count)
        config_error(c, s->key.items[s->cert.count].where,
                     "key: the n-th key belongs to the n-th cert, and there are fewer certs");
    if (s->ocsp_staple.count > s->cert.count)
        config_error(c, s->ocsp_staple.items[s->cert.count].where,
                     "ocspStaple: the n-th belongs to the n-th cert, and there are fewer certs");
    for (size_t i = 0; i < s->cert.count; i++)
        check_key_file(c, i < s->key.count ? &s->key.items[i] : &s->cert.items[i]);
    if (s->ca_file != NULL && access(s->ca_file, R_OK) != 0)
        config_error(c, config_where(c, s, "CAfile"), "CAfile: cannot read %s: %s", s->ca_file,
                     strerror(errno));
}

/* Whether it stands in the section itself. */
static bool is_given(const struct config *c, const struct service *s, const char *option)
{
    return config_origin(c, s, option) == ORIGIN_SECTION;
}

static void check_exec_alone(struct config *c, const struct service *s)
{
    const char *where = config_where(c, s, "exec");
    if (s->connect.count > 0)
        config_error(c, where, "exec: a service has either this or connect, which is at %s",
                     s->connect.items[0].where);
    if (s->failover != FAILOVER_PRIO || is_given(c, s, "failover"))
        config_error(c, config_where(c, s, "failover"),
                     "failover: there is nothing to choose from with exec, leave it out");
    if (s->local != NULL)
        config_error(c, config_where(c, s, "local"),
                     "local: there is no connection with exec, leave it out");
}

bool config_speaks_mail(const struct service *s)
{
    return s->protocol == &protocol_smtp || s->protocol == &protocol_lmtp;
}

/* A mail program that is started for a session takes it for one of a local user, who may relay. */
static void warn_local_user(struct config *c, const struct service *s)
{
    if (!config_speaks_mail(s) || arguments_use(&s->exec_arguments, VARIABLE_TCPREMOTEIP) ||
        arguments_use(&s->exec_arguments, VARIABLE_REMOTE_HOST))
        return;
    for (size_t i = 0; i < s->accept.count; i++) {
        if (address_is_local(s->accept.items[i].text))
            continue;
        config_warn(c, s->accept.items[i].where,
                    "[%s] %s may take every client for a user of this machine: tell it who it is "
                    "(Exim: -oMa ${TCPREMOTEIP}.${TCPREMOTEPORT}) or make sure that it does not "
                    "relay, or you run an open relay",
                    s->name, s->exec);
        break;
    }
}

/* protocolTokenProgram has a user, too, and its arguments with it. */
static void forbid_without_exec(struct config *c, const struct service *s)
{
    if (is_given(c, s, "execArgs"))
        config_error(c, config_where(c, s, "execArgs"),
                     "execArgs means nothing without exec = PROGRAM");
    if (is_given(c, s, "execUser") && s->login_token_program == NULL)
        config_error(c, config_where(c, s, "execUser"),
                     "execUser means nothing without exec = PROGRAM or protocolTokenProgram = "
                     "PROGRAM");
}

static void check_program(struct config *c, struct service *s)
{
    char error[256];
    if (s->exec == NULL) {
        forbid_without_exec(c, s);
        return;
    }
    check_exec_alone(c, s);
    if (s->exec_args == NULL) {
        arguments_set(&s->exec_arguments, s->exec);
    } else if (!arguments_parse(&s->exec_arguments, s->exec_args, environment_names, error,
                                sizeof error)) {
        config_error(c, config_where(c, s, "execArgs"), "execArgs: %s", error);
        return;
    }
    warn_local_user(c, s);
}

static bool any_path(const struct values *addresses)
{
    for (size_t i = 0; i < addresses->count; i++)
        if (addresses->items[i].text[0] == '/')
            return true;
    return false;
}

static void check_transparent(struct config *c, const struct service *s)
{
    const char *where = config_where(c, s, "identity");
    if (s->identity != IDENTITY_TRANSPARENT)
        return;
    if (s->local != NULL)
        config_error(c, where, "identity = transparent and local = %s exclude each other",
                     s->local);
    if (any_path(&s->accept) || any_path(&s->connect))
        config_error(c, where,
                     "identity = transparent needs addresses: a Unix socket in accept or "
                     "connect has none");
}

static void check_xclient(struct config *c, const struct service *s)
{
    const char *where = config_where(c, s, "identity");
    if (s->identity != IDENTITY_XCLIENT)
        return;
    if (s->client)
        config_error(c, where,
                     "[%s] identity = xclient is for services that offer TLS to clients: leave it "
                     "out, or write identity = proxy",
                     s->name);
    if (s->protocol == NULL)
        config_error(c, where,
                     "[%s] identity = xclient is a command of mail protocols: write protocol = "
                     "smtp, lmtp, pop3 or managesieve as well, or identity = proxy",
                     s->name);
    if (any_path(&s->accept))
        config_error(c, where,
                     "identity = xclient needs addresses: clients of a Unix socket in accept have "
                     "none");
}

/* A program has it in its environment whatever is written; nothing else has an environment. */
static void settle_env(struct config *c, struct service *s)
{
    if (s->exec != NULL && config_origin(c, s, "identity") == ORIGIN_NOWHERE)
        s->identity = IDENTITY_ENV;
    if (s->exec == NULL && s->identity == IDENTITY_ENV)
        config_error(c, config_where(c, s, "identity"),
                     "[%s] identity = env is for programs (exec): write proxy, proxy2, xclient or "
                     "transparent, as the backend understands it",
                     s->name);
}

/* An address from which clients come whom the backend has no reason to trust; NULL: none. */
static const struct value *find_outside(const struct service *s)
{
    for (size_t i = 0; i < s->accept.count; i++)
        if (s->balancers.count > 0 || !address_is_local(s->accept.items[i].text))
            return &s->accept.items[i];
    return NULL;
}

/* Everything that comes through us seems to come from us: the one way to an open relay. */
static void warn_of_relay(struct config *c, const struct service *s)
{
    const struct value *outside = find_outside(s);
    char local[256];
    if (!config_speaks_mail(s) || s->exec != NULL || outside == NULL ||
        s->identity != IDENTITY_NONE)
        return;
    if (s->via != NULL) {
        config_warn(c, outside->where,
                    "[%s] the backend %s sees every client as the proxy; if it relays for that, it "
                    "relays for the world, an open relay. Write identity = proxy, proxy2 or "
                    "xclient, as the backend understands it",
                    s->name, s->connect.count > 0 ? s->connect.items[0].text : "?");
        return;
    }
    snprintf(local, sizeof local, "%s:1", s->local != NULL ? s->local : "localhost");
    if (!address_is_local(local)) /* chosen to be one that the backend does not trust */
        return;
    config_warn(c, outside->where,
                "[%s] the backend %s sees every client as this machine; if it relays for this "
                "machine (Postfix: mynetworks), it relays for the world, an open relay. Write "
                "identity = proxy, proxy2, xclient or transparent, as the backend understands "
                "it, or local = ADDRESS, one of this machine's that the backend does not trust",
                s->name, s->connect.count > 0 ? s->connect.items[0].text : "?");
}

static void check_trace(struct config *c, const struct service *s)
{
    if (s->trace && (s->client || !config_speaks_mail(s)))
        config_error(c, config_where(c, s, "trace"),
                     "[%s] trace = yes is for services with protocol = smtp or lmtp that offer TLS "
                     "to clients: leave it out",
                     s->name);
}

static void check_accept(struct config *c, const struct service *s)
{
    if (s->accept.count > 0)
        return;
    switch ((enum no_accept)c->no_accept) {
    case NO_ACCEPT_ERROR:
        config_error(c, s->where, "[%s] needs accept = [HOST:]PORT", s->name);
        break;
    case NO_ACCEPT_WARNING:
        config_warn(c, s->where,
                    "[%s] has no accept = [HOST:]PORT: it can only be started with a socket named "
                    "\"%s\" by a service manager, or by ehlock --inetd",
                    s->name, s->name);
        break;
    case NO_ACCEPT_FINE:
        break;
    }
}

static void check_combinations(struct config *c, const struct service *s)
{
    check_accept(c, s);
    if (s->connect.count == 0 && s->exec == NULL)
        config_error(c, s->where,
                     "[%s] needs connect = [HOST:]PORT, where the backend is, or exec = PROGRAM",
                     s->name);
    if (s->client)
        return;
    if (s->implicit_tls != IMPLICIT_NO && s->tls_level == TLS_LEVEL_NONE)
        config_error(c, s->where,
                     "[%s] tlsLevel = none and TLS from the first byte exclude each other",
                     s->name);
    for (size_t i = 0; i < s->accept.count; i++) {
        if (s->protocol == &protocol_smtp && s->tls_level == TLS_LEVEL_ENCRYPT &&
            s->implicit_tls == IMPLICIT_NO && address_has_port(s->accept.items[i].text, 25))
            config_warn(c, s->accept.items[i].where,
                        "tlsLevel = encrypt on port 25: a public mail exchanger must not require "
                        "TLS (RFC 3207, section 4); senders without it cannot reach you");
    }
}

/* Clients are judged as the service says, whatever name they ask for; what a section demands and
 * the service does not would never be demanded. */
static void forbid_verifying(struct config *c, const struct service *s)
{
    const struct service *of = s->sni_service;
    const struct {
        const char *option;
        bool here, there;
    } demands[] = {
        {"relayAs", s->relay_as.count > 0, of->relay_as.count > 0},
        {"verify", s->verify != NULL, of->verify != NULL},
        {"verifyChain", s->verify_chain != NULL, of->verify_chain != NULL},
        {"verifyClient", s->verify_client != VERIFY_CLIENT_NO,
         of->verify_client >= s->verify_client},
        {"verifyPeer", s->verify_peer.count > 0, of->verify_peer.count > 0},
    };
    for (size_t i = 0; i < sizeof demands / sizeof *demands; i++)
        if (demands[i].here && !demands[i].there)
            config_error(c, config_where(c, s, demands[i].option),
                         "[%s] sni: %s belongs into the service it names", s->name,
                         demands[i].option);
}

/* sni = SERVICE:PATTERN makes a section a bundle of certificates for another. */
static void resolve_sni(struct config *c, struct service *s)
{
    char *colon = strchr(s->sni, ':');
    if (colon == NULL || colon[1] == '\0') {
        config_error(c, s->where, "[%s] sni: write SERVICE:PATTERN", s->name);
        return;
    }
    s->sni_pattern = colon + 1;
    for (size_t i = 0; i < c->n_services; i++)
        if (strncasecmp(c->services[i].name, s->sni, (size_t)(colon - s->sni)) == 0 &&
            c->services[i].name[colon - s->sni] == '\0' && !service_is_bundle(&c->services[i]) &&
            !c->services[i].client)
            s->sni_service = &c->services[i];
    if (s->sni_service == NULL)
        config_error(c, s->where, "[%s] sni: there is no service [%.*s]", s->name,
                     (int)(colon - s->sni), s->sni);
    if (s->cert.count == 0)
        config_error(c, s->where, "[%s] sni: needs cert = FILE", s->name);
    if (s->accept.count > 0 && !s->accept.inherited)
        config_error(c, s->where, "[%s] sni: accept belongs into the service it names", s->name);
    if (s->sni_service != NULL)
        forbid_verifying(c, s);
}

/* A level before the sections is for services of the same side: what a server may do without must
 * not loosen what a client demands. */
static void settle_level(const struct config *c, struct service *s)
{
    enum config_origin from = config_origin(c, s, "tlsLevel");
    s->level_given =
        from == ORIGIN_SECTION || (from == ORIGIN_DEFAULTS && s->client == c->defaults.client);
    if (!s->level_given)
        s->tls_level = s->client ? LEVEL_SECURE : LEVEL_MAY;
}

static void check_service(struct config *c, struct service *s)
{
    if (service_is_bundle(s)) {
        resolve_sni(c, s);
        login_forbid(c, s);
        return;
    }
    settle_level(c, s);
    check_protocol(c, s);
    config_check_original(c, s);
    check_addresses(c, s);
    check_taken(c, s);
    compile_patterns(c, s);
    config_read_rules(c, s);
    check_program(c, s);
    settle_env(c, s);
    parse_networks(c, s);
    check_certificates(c, s);
    check_trace(c, s);
    check_combinations(c, s);
    check_transparent(c, s);
    check_xclient(c, s);
    via_check(c, s);
    if (s->client) {
        demands_make(c, s);
        nexthops_check(c, s);
        client_demand_forbid(c, s);
        login_check(c, s);
        return;
    }
    nexthops_check(c, s);
    demands_forbid(c, s);
    login_forbid(c, s);
    warn_of_relay(c, s);
    client_demand_make(c, s);
}

/* A daemon leaves the directory that it was started from. */
static bool make_paths_absolute(struct config *c)
{
    char *directory = getcwd(NULL, 0);
    if (directory == NULL)
        return false;
    options_make_absolute(c, SCOPE_GLOBAL, directory);
    for (size_t i = 0; i < c->n_services; i++)
        options_make_absolute(&c->services[i], SCOPE_SERVICE, directory);
    free(directory);
    return true;
}

bool config_check(struct config *c)
{
    char name[256];
    if (!make_paths_absolute(c))
        config_error(c, NULL, "the working directory is gone: %s", strerror(errno));
    if (c->n_services == 0)
        config_error(c, NULL, "there is no [service] section: nothing to do");
    check_debug(c);
    if (c->hostname == NULL) {
        if (gethostname(name, sizeof name) != 0)
            snprintf(name, sizeof name, "localhost");
        name[sizeof name - 1] = '\0';
        c->hostname = memory_strdup(name);
    }
    for (size_t i = 0; i < c->n_services; i++)
        check_service(c, &c->services[i]);
    login_forget_defaults(c);
    nexthops_check_program(c);
    return c->errors == 0;
}

void config_show(const struct config *c, FILE *out)
{
    options_show(c, SCOPE_GLOBAL, out);
    for (size_t i = 0; i < c->n_services; i++) {
        fprintf(out, "\n[%s]\n", c->services[i].name);
        options_show(&c->services[i], SCOPE_SERVICE, out);
    }
}
