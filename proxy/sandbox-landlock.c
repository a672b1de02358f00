/* SPDX-License-Identifier: ISC
 *
 * Landlock by its three system calls; no library has them. The structures are written out here,
 * because the kernel that runs knows more than the headers that were there at build time.
 */
#include <errno.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proxy/sandbox.h"

/* The interface's versions, and what came with them. */
enum {
    ABI_FILES = 1,
    ABI_REFER = 2,
    ABI_TRUNCATE = 3,
    ABI_TCP = 4,
    ABI_IOCTL = 5,
    ABI_SCOPE = 6,
};

enum {
    RULE_NET_PORT = 2,
    NET_BIND_TCP = 1,
    NET_CONNECT_TCP = 2,
    SCOPE_ABSTRACT_UNIX = 1,
    SCOPE_SIGNAL = 2,
};

struct ruleset {
    uint64_t files, net, scope;
};

struct net_rule {
    uint64_t allowed, port;
};

static uint64_t all_file_rights(int abi)
{
    unsigned last = abi >= ABI_IOCTL ? 15 : abi >= ABI_TRUNCATE ? 14 : abi >= ABI_REFER ? 13 : 12;
    return (1ULL << (last + 1)) - 1;
}

static void name_missing(int abi, char *missing, size_t size)
{
    if (abi < ABI_FILES)
        snprintf(missing, size, "Landlock");
    else if (abi < ABI_TCP)
        snprintf(missing, size, "Landlock for TCP ports and signals (its version is %d)", abi);
    else if (abi < ABI_SCOPE)
        snprintf(missing, size, "Landlock for signals (its version is %d)", abi);
    else
        missing[0] = '\0';
}

static bool allow_port(int fd, uint64_t right, uint16_t port)
{
    const struct net_rule rule = {.allowed = right, .port = port};
    return syscall(SYS_landlock_add_rule, fd, RULE_NET_PORT, &rule, 0) == 0;
}

static bool allow_ports(int fd, const struct sandbox_needs *needs)
{
    for (size_t i = 0; needs->tcp && i < needs->n_ports; i++)
        if (!allow_port(fd, NET_CONNECT_TCP, needs->ports[i]))
            return false;
    return !needs->bind || allow_port(fd, NET_BIND_TCP, 0); /* an address, but any port */
}

int landlock_create(const struct sandbox_needs *needs, char *missing, size_t missing_size)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    name_missing((int)abi, missing, missing_size);
    if (abi < ABI_FILES)
        return -1;
    const struct ruleset rules = {
        .files = all_file_rights((int)abi),
        .net = abi >= ABI_TCP ? NET_BIND_TCP | NET_CONNECT_TCP : 0,
        .scope = abi >= ABI_SCOPE ? SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL : 0,
    };
    size_t size = abi >= ABI_SCOPE ? sizeof rules
                  : abi >= ABI_TCP ? 2 * sizeof(uint64_t)
                                   : sizeof(uint64_t);
    int fd = (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);
    if (fd >= 0 && (abi < ABI_TCP || allow_ports(fd, needs)))
        return fd;
    snprintf(missing, missing_size, "Landlock (%s)", strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

bool landlock_enter(int rules_fd)
{
    return rules_fd < 0 || syscall(SYS_landlock_restrict_self, rules_fd, 0) == 0;
}
