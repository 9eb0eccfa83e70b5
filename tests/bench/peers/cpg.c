/*
 * A member of the corosync reference: sends messages with agreed delivery through the local daemon,
 * one update each, and counts what is delivered. Prints its report as one line of JSON.
 *
 * cpg MEMBERS INDEX SENDERS SIZE IN_FLIGHT WARM_UP SECONDS DAEMON
 */
#include <corosync/cpg.h>
#include <corosync/corotypes.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* Times are counted by the microsecond, up to a second. */
#define BUCKETS 1000000
#define NANOS 1000000000ull
/* Messages between two looks at what has come. */
#define BURST 32

static size_t members, present, ended, senders;
static uint64_t delivered, bytes, own, sent, in_flight;
static uint64_t measured;         /* When the window begins. */
static uint64_t *sent_at;         /* Of those in flight, in a ring. */
static uint32_t counts[BUCKETS];
static uint32_t me;

static uint64_t now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * NANOS + time.tv_nsec;
}

static void fail(const char *what, int code)
{
	fprintf(stderr, "cpg: %s: %d\n", what, code);
	exit(1);
}

static void deliver(cpg_handle_t handle, const struct cpg_name *group, uint32_t node,
		    uint32_t pid, void *message, size_t length)
{
	(void)handle, (void)group, (void)pid;
	if (length > 0 && *(char *)message == 'E') {
		ended++;
		return;
	}
	delivered++;
	bytes += length;
	if (node != me)
		return;
	if (in_flight > 0) {
		uint64_t at = sent_at[own % in_flight];
		uint64_t micros = (now() - at) / 1000;
		if (at >= measured)
			counts[micros < BUCKETS ? micros : BUCKETS - 1]++;
	}
	own++;
}

static void changed(cpg_handle_t handle, const struct cpg_name *group,
		    const struct cpg_address *now_there, size_t now_count,
		    const struct cpg_address *left, size_t left_count,
		    const struct cpg_address *joined, size_t joined_count)
{
	(void)handle, (void)group, (void)now_there, (void)left, (void)joined, (void)joined_count;
	present = now_count;
	if (left_count > 0 && ended < senders)
		fail("a member was excluded", (int)left_count);
}

static double cpu(const char *daemon)
{
	char path[64], text[1024];
	unsigned long user = 0, system = 0;
	struct rusage usage;
	snprintf(path, sizeof path, "/proc/%s/stat", daemon);
	FILE *file = fopen(path, "r");
	if (file) {
		size_t length = fread(text, 1, sizeof text - 1, file);
		text[length] = 0;
		char *after = strrchr(text, ')');
		if (after)
			sscanf(after + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
			       &user, &system);
		fclose(file);
	}
	getrusage(RUSAGE_SELF, &usage);
	return (user + system) / 100.0 + usage.ru_utime.tv_sec + usage.ru_stime.tv_sec
	       + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static unsigned long memory(const char *daemon)
{
	char path[64], line[256];
	unsigned long kilobytes = 0;
	snprintf(path, sizeof path, "/proc/%s/status", daemon);
	FILE *file = fopen(path, "r");
	while (file && fgets(line, sizeof line, file))
		if (sscanf(line, "VmHWM: %lu", &kilobytes) == 1)
			break;
	if (file)
		fclose(file);
	return kilobytes * 1024;
}

/* Delivers what has come; waits a little if there is nothing. */
static void dispatch(cpg_handle_t handle, int wait)
{
	int descriptor;
	uint64_t before = delivered;
	cs_error_t error = cpg_dispatch(handle, CS_DISPATCH_ALL);
	if (error != CS_OK && error != CS_ERR_TRY_AGAIN)
		fail("cpg_dispatch", error);
	if (wait && delivered == before && cpg_fd_get(handle, &descriptor) == CS_OK) {
		struct pollfd poll_for = { .fd = descriptor, .events = POLLIN };
		poll(&poll_for, 1, 1);
	}
}

/* Whether flow control let it go. */
static int send_one(cpg_handle_t handle, char *message, size_t length)
{
	struct iovec vector = { .iov_base = message, .iov_len = length };
	cs_error_t error = cpg_mcast_joined(handle, CPG_TYPE_AGREED, &vector, 1);
	if (error != CS_OK && error != CS_ERR_TRY_AGAIN)
		fail("cpg_mcast_joined", error);
	return error == CS_OK;
}

static cpg_handle_t join(const char *daemon)
{
	cpg_callbacks_t callbacks = { .cpg_deliver_fn = deliver, .cpg_confchg_fn = changed };
	struct cpg_name group = { .length = 5, .value = "bench" };
	uint64_t limit = now() + 30 * NANOS;
	cpg_handle_t handle;
	cs_error_t error;
	while ((error = cpg_initialize(&handle, &callbacks)) != CS_OK) {
		if (now() > limit || kill(atoi(daemon), 0) != 0)
			fail("cpg_initialize", error);
		usleep(50000);
	}
	if ((error = cpg_local_get(handle, &me)) != CS_OK)
		fail("cpg_local_get", error);
	while ((error = cpg_join(handle, &group)) != CS_OK) {
		if (error != CS_ERR_TRY_AGAIN || now() > limit)
			fail("cpg_join", error);
		usleep(10000);
	}
	while (present < members) {
		if (now() > limit)
			fail("members that have come", (int)present);
		dispatch(handle, 1);
	}
	return handle;
}

int main(int argc, char **argv)
{
	if (argc != 9)
		fail("arguments", argc);
	members = strtoul(argv[1], NULL, 10);
	senders = strtoul(argv[3], NULL, 10);
	size_t size = strtoul(argv[4], NULL, 10);
	in_flight = strtoull(argv[5], NULL, 10);
	int sends = strtoul(argv[2], NULL, 10) < senders;
	char *message = malloc(size + 1);
	sent_at = calloc(in_flight + 1, sizeof *sent_at);
	memset(message, 'x', size + 1);

	cpg_handle_t handle = join(argv[8]);
	uint64_t start = now();
	measured = start + strtoull(argv[6], NULL, 10) * NANOS;
	uint64_t end = measured + strtoull(argv[7], NULL, 10) * NANOS;
	uint64_t time, begun = 0, before = 0;
	double cpu_before = 0;
	while ((time = now()) < end) {
		int going = sends, some = 0;
		for (int i = 0; going && i < BURST; i++) {
			if (in_flight > 0 && sent - own >= in_flight)
				break;
			if (in_flight > 0)
				sent_at[sent % in_flight] = now();
			going = send_one(handle, message, size);
			sent += going;
			some |= going;
		}
		dispatch(handle, !some);
		if (begun == 0 && time >= measured) {
			begun = now();
			before = delivered;
			cpu_before = cpu(argv[8]);
		}
	}
	double seconds = (now() - begun) / 1e9;
	uint64_t applied = delivered - before;
	double used = cpu(argv[8]) - cpu_before;

	/* What a sender sends last comes last, everywhere. */
	message[0] = 'E';
	uint64_t limit = now() + 20 * NANOS;
	while (sends && !send_one(handle, message, 1)) {
		if (now() > limit)
			fail("flow control", 0);
		dispatch(handle, 1);
	}
	while (ended < senders) {
		if (now() > limit)
			fail("senders that have ended", (int)ended);
		dispatch(handle, 1);
	}
	printf("{\"seconds\":%f,\"applied\":%lu,\"sent\":%lu,\"wire\":0,\"frames\":0,\"sends\":0,"
	       "\"cpu\":%f,\"memory\":%lu,"
	       "\"total\":%lu,\"settings\":{},\"reliable\":true,\"latencies\":[",
	       seconds, applied, sent, used, memory(argv[8]), delivered);
	const char *comma = "";
	for (uint64_t micros = 0; micros < BUCKETS; micros++)
		if (counts[micros] > 0) {
			printf("%s[%lu,%u]", comma, micros * 1000 + 500, counts[micros]);
			comma = ",";
		}
	printf("]}\n");
	fflush(stdout);
	cpg_finalize(handle);
	return 0;
}
