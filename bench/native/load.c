/* A load generator: closed loop (each connection sends when it has its answer), or requests at a constant rate.
 *
 *     load PORT CONNECTIONS WARM_UP_SECONDS SECONDS RATE REQUESTS_FILE
 *
 * RATE 0: closed loop. Else an open loop of RATE requests per second: request n is due at start + n / RATE, whether or
 * not a connection is free, and its latency counts from then; a server that stalls pays for everyone it kept waiting
 * (no coordinated omission).
 *
 * REQUESTS_FILE: whole requests, each after its length (4 bytes, little-endian); they are sent in turn.
 *
 * Prints one JSON object: what ended within SECONDS after the warm-up (answers, events, failures; latencies in
 * microseconds), and `total_*`: all that ended since the start, to divide the server's CPU time by. An event ends in an
 * empty line ("\n\n" within a chunked body). Any status but 200 and any broken connection is a failure.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_HEAD = 16384, MAX_CONNECTIONS = 20000, BATCH = 256, MAX_SAMPLES = 4000000 };
enum phase { HEAD, SIZE, DATA, DATA_END, LAST, COUNTED };

struct connection {
	int fd;
	int busy, blocked, close;
	const char *out;
	size_t out_length;
	enum phase phase;
	size_t head_length, left;
	int status, newline, line;
	long long began; /* ns; when it was due, in the open loop */
	long long last;
	char head[MAX_HEAD + 1];
};

static struct sockaddr_in address = {.sin_family = AF_INET};
static struct connection *connections;
static int *idle, idles, poller;
static char **requests;
static size_t *lengths;
static long count, turn;
static long long rate_gap, start, from, until, due;
static long total_answers, total_events, answers, events, failures, total_failures, samples;
static long long bytes;
static unsigned *latencies;

static long long now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void want(struct connection *c, int blocked)
{
	struct epoll_event event = {.events = EPOLLIN | (blocked ? EPOLLOUT : 0), .data.ptr = c};
	c->blocked = blocked;
	epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
}

static void flush(struct connection *c)
{
	while (c->out_length) {
		ssize_t sent = send(c->fd, c->out, c->out_length, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0) {
			if (errno == EAGAIN || errno == ENOTCONN)
				want(c, 1);
			return; /* what is broken shows when it is read */
		}
		c->out += sent;
		c->out_length -= sent;
	}
	if (c->blocked)
		want(c, 0);
}

static void dial(struct connection *c)
{
	int on = 1;
	c->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(c->fd, (struct sockaddr *)&address, sizeof address)) {
		perror("load: connect");
		exit(1);
	}
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
	epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event);
	c->blocked = c->close = 0;
	c->out_length = c->head_length = 0;
	c->phase = HEAD;
}

static void begin(struct connection *c, long long began)
{
	c->began = began;
	c->busy = 1;
	c->out = requests[turn];
	c->out_length = lengths[turn];
	turn = (turn + 1) % count;
	c->phase = HEAD;
	c->head_length = 0;
	flush(c);
}

/* An answer is over, well or not. */
static void end(struct connection *c, int failed, long long now)
{
	int counts = now >= from && now < until;
	total_answers += !failed;
	total_failures += failed;
	if (counts && failed)
		failures++;
	if (counts && !failed) {
		answers++;
		if (samples < MAX_SAMPLES)
			latencies[samples++] = (now - c->began) / 100;
	}
	c->busy = 0;
	if (failed || c->close) {
		close(c->fd);
		dial(c);
	}
	if (rate_gap)
		idle[idles++] = c - connections;
	else if (now < until)
		begin(c, now);
}

static void scan(struct connection *c, const char *data, size_t length, long long now)
{
	long found = 0;
	const char *at = data, *stop = data + length;
	if (c->newline && length && *at == '\n')
		found++, at++;
	while ((at = memchr(at, '\n', stop - at)) && at + 1 < stop) {
		found += at[1] == '\n';
		at += 1 + (at[1] == '\n');
	}
	c->newline = length && stop[-1] == '\n' && !(length > 1 && stop[-2] == '\n');
	total_events += found;
	if (now >= from && now < until)
		events += found;
}

/* Reads the head. Returns 0 when it is not HTTP. */
static int understand(struct connection *c)
{
	char *field;
	c->status = strncmp(c->head, "HTTP/1.1 ", 9) ? 0 : atoi(c->head + 9);
	c->close = strcasestr(c->head, "\r\nconnection: close") != NULL;
	c->newline = c->line = 0;
	if (strcasestr(c->head, "\r\ntransfer-encoding: chunked"))
		c->phase = SIZE, c->left = 0;
	else if ((field = strcasestr(c->head, "\r\ncontent-length:")))
		c->phase = COUNTED, c->left = strtoul(field + 17, NULL, 10);
	else
		return 0;
	return c->status != 0;
}

/* Feeds what was read; returns 1 when the answer is complete, -1 when it is broken, 0 when more must come. */
static int feed(struct connection *c, const char *data, size_t length, long long now)
{
	while (length || (c->phase == COUNTED && !c->left)) {
		size_t taken = 1;
		switch (c->phase) {
		case HEAD: {
			size_t before = c->head_length;
			taken = length < MAX_HEAD - before ? length : MAX_HEAD - before;
			memcpy(c->head + before, data, taken);
			c->head[before + taken] = 0;
			char *stop = strstr(c->head + (before > 3 ? before - 3 : 0), "\r\n\r\n");
			c->head_length += taken;
			if (stop) {
				taken = stop + 4 - c->head - before;
				stop[4] = 0;
				if (!understand(c))
					return -1;
			} else if (c->head_length == MAX_HEAD)
				return -1;
			break;
		}
		case SIZE: /* hexadecimal digits, then the rest of the line */
			if (*data == '\n') {
				c->line = 0;
				c->phase = c->left ? DATA : LAST;
			} else if (*data == ';' || *data == '\r')
				c->line = 1;
			else if (!c->line)
				c->left = c->left * 16 + (*data <= '9' ? *data - '0' : (*data | 32) - 'a' + 10);
			break;
		case DATA:
			taken = length < c->left ? length : c->left;
			scan(c, data, taken, now);
			c->left -= taken;
			if (!c->left)
				c->phase = DATA_END;
			break;
		case DATA_END:
			if (*data == '\n')
				c->phase = SIZE, c->left = 0;
			break;
		case LAST: /* an empty line; nobody here sends trailers */
			if (*data == '\n')
				return 1;
			break;
		case COUNTED:
			taken = length < c->left ? length : c->left;
			c->left -= taken;
			if (!c->left)
				return length == taken ? 1 : -1;
			break;
		}
		data += taken;
		length -= taken;
	}
	return 0;
}

static void receive(struct connection *c)
{
	static char buffer[262144];
	ssize_t got = recv(c->fd, buffer, sizeof buffer, MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	long long now = now_ns();
	if (!c->busy) { /* an idle connection that the server closed */
		if (got <= 0) {
			close(c->fd);
			dial(c);
		}
		return;
	}
	if (got <= 0) {
		end(c, 1, now);
		return;
	}
	if (now >= from && now < until)
		bytes += got;
	int said = feed(c, buffer, got, now);
	if (said)
		end(c, said < 0 || c->status != 200, now);
}

static int ascending(const void *a, const void *b)
{
	unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
	return (x > y) - (x < y);
}

static double percentile(double share)
{
	return samples ? latencies[(long)((samples - 1) * share + 0.5)] / 10.0 : 0;
}

static void read_requests(const char *path)
{
	FILE *file = fopen(path, "rb");
	unsigned char size[4];
	if (!file) {
		perror(path);
		exit(1);
	}
	while (fread(size, 1, 4, file) == 4) {
		requests = realloc(requests, (count + 1) * sizeof *requests);
		lengths = realloc(lengths, (count + 1) * sizeof *lengths);
		lengths[count] = size[0] | size[1] << 8 | size[2] << 16 | (size_t)size[3] << 24;
		requests[count] = malloc(lengths[count]);
		if (fread(requests[count], 1, lengths[count], file) != lengths[count])
			exit(1);
		count++;
	}
	fclose(file);
}

int main(int argc, char **argv)
{
	if (argc != 7)
		return fprintf(stderr, "usage: load PORT CONNECTIONS WARM_UP SECONDS RATE REQUESTS_FILE\n"), 2;
	int size = atoi(argv[2]);
	if (size < 1 || size > MAX_CONNECTIONS)
		return fprintf(stderr, "load: from 1 to %d connections\n", MAX_CONNECTIONS), 2;
	double warm_up = atof(argv[3]), seconds = atof(argv[4]), rate = atof(argv[5]);
	address.sin_port = htons(atoi(argv[1]));
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	rate_gap = rate > 0 ? 1e9 / rate : 0;
	read_requests(argv[6]);
	connections = calloc(size, sizeof *connections);
	idle = calloc(size, sizeof *idle);
	latencies = calloc(MAX_SAMPLES, sizeof *latencies);
	poller = epoll_create1(0);
	prctl(PR_SET_TIMERSLACK, 1UL);
	for (int i = 0; i < size; i++)
		dial(&connections[i]);
	start = due = now_ns();
	from = start + (long long)(warm_up * 1e9);
	until = from + (long long)(seconds * 1e9);
	for (int i = 0; i < size; i++) {
		if (rate_gap)
			idle[idles++] = i;
		else
			begin(&connections[i], start);
	}
	struct epoll_event got[BATCH];
	long behind = 0;
	for (;;) {
		long long now = now_ns(), next = until;
		if (now >= until)
			break;
		while (rate_gap && due <= now && idles) {
			begin(&connections[idle[--idles]], due);
			due += rate_gap;
		}
		if (rate_gap && idles && due < until)
			next = due;
		behind += rate_gap && !idles;
		now = now_ns();
		long long wait = next > now ? next - now : 0;
		struct timespec limit = {.tv_sec = wait / 1000000000, .tv_nsec = wait % 1000000000};
		int n = epoll_pwait2(poller, got, BATCH, &limit, NULL);
		for (int i = 0; i < n; i++) {
			struct connection *c = got[i].data.ptr;
			if (got[i].events & EPOLLOUT)
				flush(c);
			if (got[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP))
				receive(c);
		}
	}
	/* What is due and was never sent or answered waited at least until now. */
	long unanswered = 0;
	for (int i = 0; rate_gap && i < size; i++)
		unanswered += connections[i].busy;
	if (rate_gap && due < until)
		unanswered += (until - due) / rate_gap;
	qsort(latencies, samples, sizeof *latencies, ascending);
	printf("{\"seconds\": %.3f, \"answers\": %ld, \"events\": %ld, \"failures\": %ld, \"bytes\": %lld, "
		"\"total_answers\": %ld, \"total_events\": %ld, \"total_failures\": %ld, \"unanswered\": %ld, "
		"\"waited_for_a_connection\": %ld, \"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, \"p999\": %.1f, \"max\": %.1f}\n",
		seconds, answers, events, failures, bytes, total_answers, total_events, total_failures, unanswered, behind,
		percentile(0.5), percentile(0.9), percentile(0.99), percentile(0.999), percentile(1));
	return 0;
}
