/* SPDX-License-Identifier: ISC */
#include "proxy/options.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "protocols/memory.h"
#include "protocols/wire.h"

#define GLOBAL(member)  SCOPE_GLOBAL, offsetof(struct config, member)
#define SERVICE(member) SCOPE_SERVICE, offsetof(struct service, member)
#define YES_NO          "no yes"
#define NOTHING(name, help)                                                                        \
    {                                                                                              \
        name, OPTION_NOTHING, SCOPE_GLOBAL, 0, NULL, 0, 0, NULL, help                              \
    }
#define GONE(name, help)                                                                           \
    {                                                                                              \
        name, OPTION_GONE, SCOPE_GLOBAL, 0, NULL, 0, 0, NULL, help                                 \
    }

static const struct option_row rows[] = {
    /* the program */
    {"chroot", OPTION_FILE, GLOBAL(chroot_dir), NULL, 0, 0, NULL,
     "directory that all processes but master and spawner are locked into (default, as root: an "
     "empty "
     "one)"},
    {"debug", OPTION_TEXT, GLOBAL(debug), "daemon.notice", 0, 0, NULL,
     "[facility.]level: how much is logged, 0 to 7 or emerg to debug"},
    {"dnssecAnchor", OPTION_FILE, GLOBAL(dnssec_anchor), "/usr/share/dns/root.key", 0, 0, NULL,
     "DS or DNSKEY records that signed answers of the DNS are traced back to"},
    {"foreground", OPTION_CHOICE, GLOBAL(foreground), "no", 0, 0, "no quiet yes",
     "stay in the foreground; yes: log to standard error as well"},
    {"hostname", OPTION_TEXT, GLOBAL(hostname), NULL, 0, 0, NULL,
     "name in replies that are not the backend's (default: the machine's)"},
    {"include", OPTION_INCLUDE, SCOPE_GLOBAL, 0, NULL, 0, 0, NULL,
     "read all files of this directory, in the order of their names"},
    {"keepers", OPTION_NUMBER, GLOBAL(keepers), "0", 0, 64, NULL,
     "processes that sign, at the most; they are started as load asks; 0: one a core"},
    {"log", OPTION_CHOICE, GLOBAL(log_mode), "append", 0, 0, "append overwrite",
     "what to do with an output file that exists"},
    {"output", OPTION_FILE, GLOBAL(output), NULL, 0, 0, NULL, "log to this file as well"},
    {"pid", OPTION_FILE, GLOBAL(pid_file), NULL, 0, 0, NULL,
     "file for the master's process number"},
    {"resolver", OPTION_LIST, GLOBAL(resolver), NULL, 0, 0, NULL,
     "ADDRESS[:PORT] of a DNS server to ask (default: those of /etc/resolv.conf)"},
    {"service", OPTION_TEXT, GLOBAL(ident), "ehlock", 0, 0, NULL, "name in log lines"},
    {"setgid", OPTION_TEXT, GLOBAL(setgid_name), NULL, 0, 0, NULL,
     "group of all processes but master and spawner (default, as root: that of setuid)"},
    {"setuid", OPTION_TEXT, GLOBAL(setuid_name), NULL, 0, 0, NULL,
     "user of all processes but master and spawner (default, as root: ehlock, else nobody)"},
    {"syslog", OPTION_CHOICE, GLOBAL(syslog), "yes", 0, 0, YES_NO, "log to syslog"},
    {"tlsMemory", OPTION_FILE, GLOBAL(tls_memory), NULL, 0, 0, NULL,
     "file that remembers which servers have offered TLS, and the keys they have shown first"},
    {"TIMEOUTdrain", OPTION_NUMBER, GLOBAL(timeout_drain), "30", 0, 86400, NULL,
     "seconds that sessions have to end after SIGTERM"},

    /* addresses */
    {"accept", OPTION_LIST, SERVICE(accept), NULL, 0, 0, NULL,
     "[host:]port or /path to listen on; without host: all IPv4 addresses, \":::port\": all IPv6"},
    {"acceptProxy", OPTION_LIST, SERVICE(accept_proxy), NULL, 0, 0, NULL,
     "ADDRESS[/BITS] of balancers: who connects from there begins with a PROXY header, v1 or v2"},
    {"connect", OPTION_LIST, SERVICE(connect), NULL, 0, 0, NULL,
     "[host:]port or /path of the backend, or mx:domain[:port]; several: see failover"},
    {"delay", OPTION_CHOICE, SERVICE(delay), "no", 0, 0, YES_NO,
     "names in connect are looked up while ehlock runs, again and again, and not at start"},
    {"exec", OPTION_FILE, SERVICE(exec), NULL, 0, 0, NULL,
     "program to start for each session, in place of connect"},
    {"execArgs", OPTION_TEXT, SERVICE(exec_args), NULL, 0, 0, NULL,
     "its arguments, its own name first, quoted as in a shell; ${NAME} is a variable of the "
     "session"},
    {"execUser", OPTION_TEXT, SERVICE(exec_user), NULL, 0, 0, NULL,
     "user that it, or protocolTokenProgram, runs as (default: that of setuid)"},
    {"failover", OPTION_CHOICE, SERVICE(failover), "prio", 0, 0, "prio rr",
     "order of backends: as written, or in turn"},
    {"identity", OPTION_CHOICE, SERVICE(identity), "none", 0, 0,
     "none proxy proxy2 transparent xclient env",
     "how the backend learns the client's address: PROXY protocol, as the connection's source, "
     "XCLIENT, or (exec, where it is the default) in its environment"},
    {"local", OPTION_TEXT, SERVICE(local), NULL, 0, 0, NULL,
     "source address of connections to the backend"},
    {"reconnect", OPTION_CHOICE, SERVICE(reconnect), "no", 0, 0, YES_NO,
     "begin a new connection to the backend after STARTTLS"},
    {"transparent", OPTION_CHOICE, SERVICE(redirection), "none", 0, 0,
     "none source destination both",
     "client: destination: the backend is where the packet filter took the connection from"},
    {"via", OPTION_TEXT, SERVICE(via), NULL, 0, 0, NULL,
     "http://HOST:PORT or socks5://HOST:PORT: proxy through which the servers in connect are "
     "reached, and which looks up their names"},
    {"viaPasswordFile", OPTION_FILE, SERVICE(via_password_file), NULL, 0, 0, NULL,
     "file with the password for the proxy, one line"},
    {"viaUsername", OPTION_TEXT, SERVICE(via_username), NULL, 0, 0, NULL,
     "user that the proxy knows"},

    /* what is spoken */
    {"addCapability", OPTION_LIST, SERVICE(add_capability), NULL, 0, 0, NULL,
     "KEYWORD [PARAMETERS]: a line that is added to the reply to EHLO if it is not there"},
    {"authBeforeTls", OPTION_CHOICE, SERVICE(auth_before_tls), "no", 0, 0, YES_NO,
     "show and allow AUTH to clients without TLS"},
    {"bareNewline", OPTION_CHOICE, SERVICE(bare_newline), "refuse", 0, 0, "refuse normalize pass",
     "what to do with bare CR and LF from clients"},
    {"client", OPTION_CHOICE, SERVICE(client), "no", 0, 0, YES_NO,
     "clients come in clear, and TLS is on the way to the server"},
    {"clientRule", OPTION_LIST, SERVICE(client_rule), NULL, 0, 0, NULL,
     "/pattern/flags ACTION or ADDRESS/BITS ACTION: what to do with clients that match"},
    {"clientRules", OPTION_FILE, SERVICE(client_rules), NULL, 0, 0, NULL,
     "file with such rules, one a line, behind those of clientRule"},
    {"fallBack", OPTION_CHOICE, SERVICE(fall_back), "no", 0, 0, YES_NO,
     "client, tlsLevel = may: go on in clear where TLS was offered and fails"},
    {"hideCapability", OPTION_LIST, SERVICE(hide_capability), NULL, 0, 0, NULL,
     "/pattern/flags: EHLO keyword lines that clients are not shown"},
    {"implicitTls", OPTION_CHOICE, SERVICE(implicit_tls), "no", 0, 0, "no yes auto",
     "TLS from the first byte; auto: if the client speaks first (always yes without protocol)"},
    {"implicitTlsWait", OPTION_NUMBER, SERVICE(implicit_tls_wait_ms), "200", 1, 60000, NULL,
     "milliseconds that implicitTls = auto waits for the client to speak"},
    {"protocol", OPTION_TEXT, SERVICE(protocol_name), NULL, 0, 0, NULL,
     "smtp, lmtp, pop3 or managesieve; without it bytes are passed and nothing is understood"},
    {"protocolAuthentication", OPTION_TEXT, SERVICE(login_mechanisms), NULL, 0, 0, NULL,
     "client: mechanisms to log in by, the most wanted first (default: the strongest that is "
     "offered)"},
    {"protocolPassword", OPTION_SECRET, SERVICE(login_password), NULL, 0, 0, NULL,
     "client: password to log in with; better in a file of its own"},
    {"protocolPasswordFile", OPTION_FILE, SERVICE(login_password_file), NULL, 0, 0, NULL,
     "client: file whose one line is the password to log in with"},
    {"protocolTokenFile", OPTION_FILE, SERVICE(login_token_file), NULL, 0, 0, NULL,
     "client: file whose one line is an OAuth 2.0 access token to log in with"},
    {"protocolTokenProgram", OPTION_TEXT, SERVICE(login_token_program), NULL, 0, 0, NULL,
     "client: program that is run for each login and prints such a token, with its arguments, "
     "quoted as in a shell"},
    {"protocolUsername", OPTION_TEXT, SERVICE(login_username), NULL, 0, 0, NULL,
     "client: log in to the server under this name, so that clients need not"},
    {"tlsLevel", OPTION_CHOICE, SERVICE(tls_level), "may", 0, 0,
     "none may encrypt fingerprint verify secure dane dane-only",
     "STARTTLS is not offered, offered, or required; client: what is demanded of servers (default "
     "secure)"},
    {"tlsPolicy", OPTION_LIST, SERVICE(tls_policy), NULL, 0, 0, NULL,
     "client: /pattern/ or ADDRESS/BITS, LEVEL, [key=value ...]: another level for such "
     "destinations"},
    {"trace", OPTION_CHOICE, SERVICE(trace), "no", 0, 0, YES_NO,
     "put a Received header in front of each message (smtp and lmtp)"},

    /* TLS */
    {"CAfile", OPTION_FILE, SERVICE(ca_file), NULL, 0, 0, NULL,
     "certificates of authorities that servers (default: the system's) or clients are verified "
     "with"},
    {"CApath", OPTION_FILE, SERVICE(ca_path), NULL, 0, 0, NULL, "directory of such certificates"},
    {"CRLfile", OPTION_FILE, SERVICE(crl_file), NULL, 0, 0, NULL,
     "certificates that were revoked by their authorities"},
    {"cert", OPTION_FILES, SERVICE(cert), NULL, 0, 0, NULL,
     "PEM file: certificate, then its issuers; several: SNI chooses, the first is for the rest"},
    {"checkEmail", OPTION_LIST, SERVICE(check_email), NULL, 0, 0, NULL,
     "e-mail address that the certificate of the server, or client, may have"},
    {"checkHost", OPTION_LIST, SERVICE(check_host), NULL, 0, 0, NULL,
     "name that the certificate of the server (default: the name in connect), or client, may have"},
    {"checkIP", OPTION_LIST, SERVICE(check_ip), NULL, 0, 0, NULL,
     "address that the certificate of the server, or client, may have"},
    {"key", OPTION_FILES, SERVICE(key), NULL, 0, 0, NULL,
     "PEM file: private key of the certificate at the same place (default: in the cert file)"},
    {"ocspStaple", OPTION_FILES, SERVICE(ocsp_staple), NULL, 0, 0, NULL,
     "DER file: OCSP response to staple, for the certificate at the same place"},
    {"priority", OPTION_TEXT, SERVICE(priority), NULL, 0, 0, NULL,
     "GnuTLS priority string (default: TLS 1.2 and 1.3, ECDHE, AEAD)"},
    {"relayAs", OPTION_LIST, SERVICE(relay_as), NULL, 0, 0, NULL,
     "/pattern/flags NAME: the backend is told that a client with such a certificate is NAME"},
    {"requireCert", OPTION_TEXT, SERVICE(require_cert), NULL, 0, 0, NULL,
     "stunnel's word, good with verifyChain = yes; write verifyClient"},
    {"sessionResume", OPTION_CHOICE, SERVICE(session_resume), "yes", 0, 0, YES_NO,
     "give out session tickets"},
    {"sni", OPTION_TEXT, SERVICE(sni), NULL, 0, 0, NULL,
     "SERVICE:PATTERN: not a service, but certificates for that service, for names like PATTERN; "
     "client: name to ask the server for"},
    {"trustOnFirstUse", OPTION_CHOICE, SERVICE(trust_on_first_use), "no", 0, 0, YES_NO,
     "client, tlsLevel = fingerprint: the key that a server shows first is its pin (see "
     "tlsMemory)"},
    {"verify", OPTION_TEXT, SERVICE(verify), NULL, 0, 0, NULL,
     "stunnel's old word, 0 to 4; write verifyClient, or client: tlsLevel"},
    {"verifyChain", OPTION_TEXT, SERVICE(verify_chain), NULL, 0, 0, NULL,
     "stunnel's word; write verifyClient, or client: tlsLevel"},
    {"verifyClient", OPTION_CHOICE, SERVICE(verify_client), "no", 0, 0, "no ask require",
     "clients are not asked for a certificate, asked, or not served without a good one"},
    {"verifyPeer", OPTION_LIST, SERVICE(verify_peer), NULL, 0, 0, NULL,
     "sha256:DIGEST or spki-sha256:DIGEST of the certificate of the server, or client; client: "
     "yes: "
     "it is in CAfile"},

    /* workers and limits */
    {"connectionsPerWorker", OPTION_NUMBER, SERVICE(connections_per_worker), "1", 1, 1000000, NULL,
     "sessions that a worker serves, one after the other, before it ends"},
    {"maxCommandLength", OPTION_NUMBER, SERVICE(max_command_length), "12288", 512, WIRE_BUFFER,
     NULL, "bytes of a command line with its CRLF"},
    {"maxConnections", OPTION_NUMBER, SERVICE(max_connections), "500", 1, 100000, NULL,
     "sessions at a time; further clients are told to come back"},
    {"maxConnectionsPerClient", OPTION_NUMBER, SERVICE(max_connections_per_client), "0", 0, 100000,
     NULL, "sessions at a time of one address (IPv6: of one /64); 0: no limit"},
    {"maxConnectionsRate", OPTION_TEXT, SERVICE(max_connections_rate), NULL, 0, 0, NULL,
     "N/SECONDS: connections of one address (IPv6: of one /64); 0: no limit"},
    {"maxHandshakesRate", OPTION_TEXT, SERVICE(max_handshakes_rate), NULL, 0, 0, NULL,
     "N/SECONDS: TLS handshakes of one address (IPv6: of one /64); 0: no limit"},
    {"maxReplySize", OPTION_NUMBER, SERVICE(max_reply_size), "65536", 512, 16777216, NULL,
     "bytes of a whole reply of the backend"},
    {"maxUselessCommands", OPTION_NUMBER, SERVICE(max_useless_commands), "100", 1, 1000000, NULL,
     "commands without a message before the client is sent away"},
    {"spareWorkers", OPTION_NUMBER, SERVICE(spare_workers), "8", 1, 10000, NULL,
     "workers that wait for a client"},

    /* times, in seconds */
    {"TIMEOUTbusy", OPTION_NUMBER, SERVICE(timeout_busy), "300", 1, 86400, NULL,
     "seconds for a reply of the backend (after a message at least 600)"},
    {"TIMEOUTclose", OPTION_NUMBER, SERVICE(timeout_close), "10", 0, 3600, NULL,
     "seconds for the client to close after we have, and for a program to end"},
    {"TIMEOUTconnect", OPTION_NUMBER, SERVICE(timeout_connect), "10", 1, 3600, NULL,
     "seconds for a connection to one backend"},
    {"TIMEOUThandshake", OPTION_NUMBER, SERVICE(timeout_handshake), "60", 1, 3600, NULL,
     "seconds for a whole TLS handshake"},
    {"TIMEOUTidle", OPTION_NUMBER, SERVICE(timeout_idle), "600", 1, 86400, NULL,
     "seconds that a client may be silent"},
    {"TIMEOUTpretls", OPTION_NUMBER, SERVICE(timeout_pretls), "300", 1, 86400, NULL,
     "seconds from connecting to TLS, or to a MAIL accepted in clear"},

    /* stunnel has these; here it is so already */
    NOTHING("fips", "GnuTLS follows the system"),
    GONE("compression", "TLS is never compressed (CRIME): leave it out"),
    NOTHING("renegotiation", "clients cannot renegotiate"),
    NOTHING("reset", "peers are told what is wrong instead of being reset"),
    NOTHING("sessionCacheSize", "resumption needs no cache here"),
    NOTHING("sessionCacheTimeout", "resumption needs no cache here"),
    NOTHING("session", "resumption needs no cache here"),
    NOTHING("stack", "there are no threads"),

    /* stunnel has these; here they cannot be */
    GONE("CAengine", "put the certificates into one file and name it with CAfile ="),
    GONE("CAstore", "put the certificates into one file and name it with CAfile ="),
    GONE("OCSPaia",
         "fetch the response with another program (ocsptool) and write ocspStaple = FILE"),
    GONE("OCSPflag",
         "fetch the response with another program (ocsptool) and write ocspStaple = FILE"),
    GONE("OCSPnonce",
         "fetch the response with another program (ocsptool) and write ocspStaple = FILE"),
    GONE("OCSPrequire",
         "fetch the response with another program (ocsptool) and write ocspStaple = FILE"),
    GONE("PSKidentity", "pre-shared keys are not supported: use a certificate"),
    GONE("RNDbytes", "the kernel has the random numbers: leave it out"),
    GONE("RNDoverwrite", "the kernel has the random numbers: leave it out"),
    GONE("TIMEOUTocsp", "no OCSP responder is asked: leave it out, see ocspStaple"),
    GONE("engineCtrl", "GnuTLS has no engines: give the key as a file"),
    GONE("engineDefault", "GnuTLS has no engines: give the key as a file"),
    GONE("engineId", "GnuTLS has no engines: give the key as a file"),
    GONE("engineNum", "GnuTLS has no engines: give the key as a file"),
    GONE("provider", "GnuTLS has no providers: give the key as a file"),
    GONE("providerParameter", "GnuTLS has no providers: give the key as a file"),
    GONE("logId", "lines of one session carry the worker's process number: leave it out"),
    GONE("protocolDomain", "there is no login by NTLM: leave it out"),
    GONE("protocolHeader", "there is no login by HTTP: leave it out"),
    GONE("protocolHost", "write hostname = NAME before the first [section]"),
    GONE("pty", "a program that is started gets a socket: leave it out"),
    GONE("sessiond", "tickets resume sessions without a cache daemon: leave it out"),
    GONE("setEnv", "set the environment where ehlock is started, in the unit file for example"),
    GONE("CRLpath", "put the lists into one file and name it with CRLfile ="),
    GONE("ciphers",
         "GnuTLS knows no OpenSSL cipher lists: leave it out, or write priority = SECURE128 or the "
         "like"),
    GONE("ciphersuites", "write priority = with +AES-256-GCM and the like, or leave it out"),
    GONE("config", "OpenSSL commands mean nothing to GnuTLS: write priority ="),
    GONE("curve", "write priority = with +GROUP-X25519 and the like, or leave it out"),
    GONE("curves", "write priority = with +GROUP-X25519 and the like, or leave it out"),
    GONE("EGD", "the kernel has the random numbers: leave it out"),
    GONE("engine", "GnuTLS has no engines: give the key as a file"),
    GONE("ident", "RFC 1413 is not asked: leave it out"),
    GONE("libwrap", "use the packet filter in place of tcp wrappers"),
    GONE("options",
         "OpenSSL options mean nothing to GnuTLS; old versions of TLS are off: leave it out"),
    GONE("OCSP", "fetch the response with another program (ocsptool) and write ocspStaple = FILE"),
    GONE("PSKsecrets", "pre-shared keys are not supported: use a certificate"),
    GONE("redirect", "clients without a good certificate are refused: leave it out"),
    GONE("retry", "leave it out"),
    GONE("RNDfile", "the kernel has the random numbers: leave it out"),
    GONE("securityLevel", "write priority = with %PROFILE_MEDIUM, %PROFILE_HIGH or %PROFILE_ULTRA"),
    GONE("socket",
         "TCP_NODELAY and SO_REUSEADDR are set, other socket options cannot be: leave it out"),
    GONE("sslVersion", "write priority = NORMAL:-VERS-ALL:+VERS-TLS1.3 or the like; TLS 1.2 is the "
                       "least by default"),
    GONE("sslVersionMax", "write priority = NORMAL:-VERS-ALL:+VERS-TLS1.2 or the like"),
    GONE("sslVersionMin", "TLS 1.2 is the least by default: leave it out, or write priority ="),
    GONE("ticketKeySecret", "ticket keys are made anew every day: leave it out"),
    GONE("ticketMacSecret", "ticket keys are made anew every day: leave it out"),
};
#undef GLOBAL
#undef SERVICE
#undef YES_NO
#undef NOTHING
#undef GONE

const struct option_row *option_at(size_t n)
{
    return n < sizeof rows / sizeof *rows ? &rows[n] : NULL;
}

const struct option_row *option_find(const char *name)
{
    const struct option_row *row;
    for (size_t i = 0; (row = option_at(i)) != NULL; i++)
        if (strcasecmp(row->name, name) == 0)
            return row;
    return NULL;
}

/* ---- values ---- */

static char **as_text(const struct option_row *row, const void *base)
{
    return (char **)((char *)base + row->offset);
}

static int *as_int(const struct option_row *row, const void *base)
{
    return (int *)((char *)base + row->offset);
}

static struct values *as_list(const struct option_row *row, const void *base)
{
    return (struct values *)((char *)base + row->offset);
}

/* The n-th word of a list of words; its length, or 0 behind the last. */
static size_t nth_word(const char *words, int n, const char **word)
{
    for (*word = words; n > 0 && **word != '\0'; n--) {
        *word += strcspn(*word, " ");
        *word += strspn(*word, " ");
    }
    return strcspn(*word, " ");
}

static const char *set_choice(const struct option_row *row, void *base, const char *value)
{
    static char message[128];
    const char *word;
    size_t len;
    for (int i = 0; (len = nth_word(row->choices, i, &word)) > 0; i++) {
        if (len == strlen(value) && strncasecmp(word, value, len) == 0) {
            *as_int(row, base) = i;
            return NULL;
        }
    }
    snprintf(message, sizeof message, "must be one of: %s", row->choices);
    return message;
}

static const char *set_number(const struct option_row *row, void *base, const char *value)
{
    static char message[128];
    char *end;
    errno = 0;
    long n = strtol(value, &end, 10);
    if (value[0] < '0' || value[0] > '9' || *end != '\0' || errno != 0 || n < row->min ||
        n > row->max) {
        snprintf(message, sizeof message, "must be a whole number from %d to %d", row->min,
                 row->max);
        return message;
    }
    *as_int(row, base) = (int)n;
    return NULL;
}

static const char placeholder[] = "(hidden)";

static void set_text(const struct option_row *row, void *base, const char *value)
{
    free(*as_text(row, base));
    *as_text(row, base) = memory_strdup(value);
}

static void wipe(const char *secret)
{
    if (secret != NULL)
        explicit_bzero((char *)secret, strlen(secret));
}

static const char *set_secret(const struct option_row *row, void *base, const char *value)
{
    if (strcmp(value, placeholder) == 0)
        return "is what --show-config prints in place of the password: write that, or name a file "
               "that holds it";
    wipe(*as_text(row, base));
    set_text(row, base, value);
    return NULL;
}

static void empty_list(struct values *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].text);
        free(list->items[i].where);
    }
    free(list->items);
    *list = (struct values){0};
}

static void add_to_list(struct values *list, const char *value, const char *where)
{
    list->items = memory_resize(list->items, (list->count + 1) * sizeof *list->items);
    list->items[list->count++] =
        (struct value){.text = memory_strdup(value), .where = memory_strdup(where)};
}

const char *option_set(const struct option_row *row, void *base, const char *value,
                       const char *where)
{
    if (value[0] == '\0')
        return "needs a value";
    switch (row->type) {
    case OPTION_TEXT:
    case OPTION_FILE:
        set_text(row, base, value);
        return NULL;
    case OPTION_SECRET:
        return set_secret(row, base, value);
    case OPTION_NUMBER:
        return set_number(row, base, value);
    case OPTION_CHOICE:
        return set_choice(row, base, value);
    case OPTION_LIST:
    case OPTION_FILES:
        if (as_list(row, base)->inherited)
            empty_list(as_list(row, base));
        add_to_list(as_list(row, base), value, where);
        return NULL;
    case OPTION_GONE:
        return row->help;
    case OPTION_NOTHING:
    case OPTION_INCLUDE:
        return NULL;
    }
    return NULL;
}

/* ---- all rows at once ---- */

static bool is_text(const struct option_row *row)
{
    return row->type == OPTION_TEXT || row->type == OPTION_FILE || row->type == OPTION_SECRET;
}

static bool is_list(const struct option_row *row)
{
    return row->type == OPTION_LIST || row->type == OPTION_FILES;
}

void options_init(void *base, enum option_scope scope)
{
    const struct option_row *row;
    for (size_t i = 0; (row = option_at(i)) != NULL; i++)
        if (row->scope == scope && row->initial != NULL)
            (void)option_set(row, base, row->initial, "default");
}

void options_finish(void *base, enum option_scope scope)
{
    const struct option_row *row;
    for (size_t i = 0; (row = option_at(i)) != NULL; i++) {
        if (row->scope != scope)
            continue;
        if (is_text(row)) {
            if (row->type == OPTION_SECRET)
                wipe(*as_text(row, base));
            free(*as_text(row, base));
            *as_text(row, base) = NULL;
        } else if (is_list(row)) {
            empty_list(as_list(row, base));
        }
    }
}

void options_inherit(struct service *to, const struct service *from)
{
    const struct option_row *row;
    for (size_t i = 0; (row = option_at(i)) != NULL; i++) {
        if (row->scope != SCOPE_SERVICE)
            continue;
        if (is_text(row)) {
            const char *text = *as_text(row, from);
            *as_text(row, to) = text != NULL ? memory_strdup(text) : NULL;
        } else if (is_list(row)) {
            const struct values *list = as_list(row, from);
            for (size_t n = 0; n < list->count; n++)
                add_to_list(as_list(row, to), list->items[n].text, list->items[n].where);
            as_list(row, to)->inherited = true;
        } else if (row->type == OPTION_NUMBER || row->type == OPTION_CHOICE) {
            *as_int(row, to) = *as_int(row, from);
        }
    }
}

void options_show(const void *base, enum option_scope scope, FILE *out)
{
    const struct option_row *row;
    const char *word;
    for (size_t i = 0; (row = option_at(i)) != NULL; i++) {
        if (row->scope != scope)
            continue;
        if (is_text(row) && *as_text(row, base) != NULL) {
            fprintf(out, "%s = %s\n", row->name,
                    row->type == OPTION_SECRET ? placeholder : *as_text(row, base));
        } else if (row->type == OPTION_NUMBER) {
            fprintf(out, "%s = %d\n", row->name, *as_int(row, base));
        } else if (row->type == OPTION_CHOICE) {
            size_t len = nth_word(row->choices, *as_int(row, base), &word);
            fprintf(out, "%s = %.*s\n", row->name, (int)len, word);
        } else if (is_list(row)) {
            for (size_t n = 0; n < as_list(row, base)->count; n++)
                fprintf(out, "%s = %s\n", row->name, as_list(row, base)->items[n].text);
        }
    }
}

static void make_absolute(char **path, const char *directory)
{
    size_t size = strlen(*path) + strlen(directory) + 2;
    if ((*path)[0] == '/')
        return;
    char *whole = memory_alloc(size);
    snprintf(whole, size, "%s/%s", directory, *path);
    free(*path);
    *path = whole;
}

void options_make_absolute(void *base, enum option_scope scope, const char *directory)
{
    const struct option_row *row;
    for (size_t i = 0; (row = option_at(i)) != NULL; i++) {
        if (row->scope != scope)
            continue;
        if (row->type == OPTION_FILE && *as_text(row, base) != NULL)
            make_absolute(as_text(row, base), directory);
        for (size_t n = 0; row->type == OPTION_FILES && n < as_list(row, base)->count; n++)
            make_absolute(&as_list(row, base)->items[n].text, directory);
    }
}

static void help_scope(enum option_scope scope, FILE *out)
{
    const struct option_row *row;
    for (size_t i = 0; (row = option_at(i)) != NULL; i++) {
        if (row->scope != scope || row->type == OPTION_NOTHING || row->type == OPTION_GONE)
            continue;
        fprintf(out, "  %s", row->name);
        if (row->choices != NULL)
            fprintf(out, " = %s", row->choices);
        if (row->initial != NULL)
            fprintf(out, " (default %s)", row->initial);
        fprintf(out, "\n      %s\n", row->help);
    }
}

void options_help(FILE *out)
{
    fprintf(out, "\nOptions of the whole program, before the first [section]:\n");
    help_scope(SCOPE_GLOBAL, out);
    fprintf(out, "\nOptions of a service, in its [section] or before all sections as defaults:\n");
    help_scope(SCOPE_SERVICE, out);
}
