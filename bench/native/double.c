/* An upstream, as fast as one core allows: whole answers of about 1 KB, and streams. It speaks OpenAI's chat
 * completions, and Anthropic's Messages on paths that end in /messages.
 *
 *     double PORT EVENTS TICK_MICROSECONDS SLICES
 *
 * A request whose body asks for a stream ("stream":true within its first 8 KiB) gets EVENTS chunks of about 200 bytes,
 * then usage and [DONE] (of Messages: the same number of deltas and what stands around them); each event is one send(),
 * but for the two before the first delta of a message. TICK 0: as fast as sockets take them, in turn over all streams.
 * Else every stream gets one event each SLICES ticks (a slice of the streams at each tick), so that each event reaches
 * the server under test by itself: what it costs can then be told from what reading many at once saves. The first two
 * events, which hold the first word, come at once.
 *
 * Bodies need a content-length; without one a request counts as empty. Listens on 127.0.0.1.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_HEAD = 16384, KEPT_BODY = 8192, MAX_FDS = 65536, BATCH = 256 };

/* What a dialect answers, as it is sent. */
struct form {
	char whole[4096], first[1024], middle[512], finish[512], usage[512], done[128];
	size_t whole_length, first_length, middle_length, finish_length, usage_length, done_length;
};

struct connection {
	int fd;
	const struct form *form; /* that its request asks for */
	size_t head_length;      /* of what is read of a head; the body is not kept but for its beginning */
	size_t body_left, kept;
	int in_body;
	const char *out;         /* the rest of what is being sent */
	size_t out_length;
	int blocked;             /* waits until the socket takes more */
	long next;               /* event of the stream; -1: none is running */
	long active;             /* place in the list of running streams; -1: not there */
	char head[MAX_HEAD + 1], body[KEPT_BODY];
};

static struct connection *connections[MAX_FDS], *active[MAX_FDS];
static long actives, events;
static int poller, ticking;
static struct form chat, messages;
static char stream_head[512];
static size_t stream_head_length;

static size_t chunk(char *into, const char *payload)
{
	return sprintf(into, "%zx\r\ndata: %s\n\n\r\n", strlen(payload) + 8, payload);
}

static size_t named_chunk(char *into, const char *name, const char *payload)
{
	return sprintf(into, "%zx\r\nevent: %s\ndata: %s\n\n\r\n", strlen(name) + strlen(payload) + 16, name, payload);
}

static size_t whole_answer(char *into, const char *json)
{
	return sprintf(into, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s",
		strlen(json), json);
}

static void prepare_messages(const char *text)
{
	struct form *f = &messages;
	char json[2048];
	sprintf(json, "{\"id\":\"msg_0123456789abcdef\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"double-1\","
		"\"content\":[{\"type\":\"text\",\"text\":\"%s\"}],\"stop_reason\":\"end_turn\",\"stop_sequence\":null,"
		"\"usage\":{\"input_tokens\":211,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,"
		"\"output_tokens\":175,\"service_tier\":\"standard\"}}", text);
	f->whole_length = whole_answer(f->whole, json);
	f->first_length = named_chunk(f->first, "message_start", "{\"type\":\"message_start\",\"message\":{"
		"\"id\":\"msg_0123456789abcdef\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"double-1\","
		"\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":211,"
		"\"output_tokens\":1}}}");
	f->first_length += named_chunk(f->first + f->first_length, "content_block_start",
		"{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}");
	f->middle_length = named_chunk(f->middle, "content_block_delta", "{\"type\":\"content_block_delta\",\"index\":0,"
		"\"delta\":{\"type\":\"text_delta\",\"text\":\" a word\"}}");
	f->finish_length = named_chunk(f->finish, "content_block_stop", "{\"type\":\"content_block_stop\",\"index\":0}");
	f->usage_length = named_chunk(f->usage, "message_delta", "{\"type\":\"message_delta\",\"delta\":{"
		"\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":500}}");
	f->done_length = named_chunk(f->done, "message_stop", "{\"type\":\"message_stop\"}");
	f->done_length += sprintf(f->done + f->done_length, "0\r\n\r\n");
}

static void prepare_chat(const char *text)
{
	struct form *f = &chat;
	static const char chunk_form[] =
		"{\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
		"\"model\":\"double-1\",\"choices\":[{\"index\":0,\"delta\":%s,\"finish_reason\":%s}]}";
	char payload[512], json[2048];
	sprintf(json,
		"{\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion\",\"created\":1700000000,"
		"\"model\":\"double-1\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"%s\"},"
		"\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":211,\"completion_tokens\":175,"
		"\"total_tokens\":386}}", text);
	f->whole_length = whole_answer(f->whole, json);
	sprintf(payload, chunk_form, "{\"role\":\"assistant\",\"content\":\"\"}", "null");
	f->first_length = chunk(f->first, payload);
	sprintf(payload, chunk_form, "{\"content\":\" a word\"}", "null");
	f->middle_length = chunk(f->middle, payload);
	sprintf(payload, chunk_form, "{}", "\"stop\"");
	f->finish_length = chunk(f->finish, payload);
	f->usage_length = chunk(f->usage, "{\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion.chunk\","
		"\"created\":1700000000,\"model\":\"double-1\",\"choices\":[],\"usage\":{\"prompt_tokens\":211,"
		"\"completion_tokens\":500,\"total_tokens\":711}}");
	f->done_length = chunk(f->done, "[DONE]");
	f->done_length += sprintf(f->done + f->done_length, "0\r\n\r\n");
}

static void prepare(void)
{
	char text[701];
	memset(text, 'x', 700);
	text[700] = 0;
	stream_head_length = sprintf(stream_head, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
		"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n");
	prepare_chat(text);
	prepare_messages(text);
}

static void leave(struct connection *c)
{
	if (c->active < 0)
		return;
	active[c->active] = active[--actives];
	active[c->active]->active = c->active;
	c->active = c->next = -1;
}

static void drop(struct connection *c)
{
	leave(c);
	connections[c->fd] = NULL;
	close(c->fd);
	free(c);
}

static void want(struct connection *c, int blocked)
{
	struct epoll_event event = {.events = EPOLLIN | (blocked ? EPOLLOUT : 0), .data.fd = c->fd};
	c->blocked = blocked;
	epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
}

/* Sends what is pending. Returns 0 when the connection is gone. */
static int flush(struct connection *c)
{
	while (c->out_length) {
		ssize_t sent = send(c->fd, c->out, c->out_length, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0 && errno == EAGAIN) {
			want(c, 1);
			return 1;
		}
		if (sent < 0) {
			drop(c);
			return 0;
		}
		c->out += sent;
		c->out_length -= sent;
	}
	if (c->blocked)
		want(c, 0);
	return 1;
}

static int put(struct connection *c, const char *bytes, size_t length)
{
	c->out = bytes;
	c->out_length = length;
	return flush(c);
}

/* Sends one event of a running stream. */
static void step(struct connection *c)
{
	const struct form *f = c->form;
	long n = c->next++;
	if (n < 0)
		return;
	if (n == events + 1) {
		leave(c);
		put(c, f->done, f->done_length);
	} else if (n == events)
		put(c, f->usage, f->usage_length);
	else if (n == events - 1)
		put(c, f->finish, f->finish_length);
	else if (n == 0)
		put(c, f->first, f->first_length);
	else
		put(c, f->middle, f->middle_length);
}

/* The request is complete. Returns 0 when the connection is gone. */
static int answer(struct connection *c)
{
	int streamed = memmem(c->body, c->kept, "\"stream\":true", 13) || memmem(c->body, c->kept, "\"stream\": true", 14);
	c->in_body = 0;
	c->head_length = c->kept = 0;
	if (!streamed)
		return put(c, c->form->whole, c->form->whole_length);
	c->next = 0;
	c->active = actives;
	active[actives++] = c;
	if (!put(c, stream_head, stream_head_length))
		return 0;
	int fd = c->fd;
	for (int i = 0; ticking && i < 2 && connections[fd] == c && !c->blocked; i++)
		step(c);
	return connections[fd] == c;
}

/* Returns 0 when the connection is gone. */
static int feed(struct connection *c, const char *bytes, size_t length)
{
	while (length || (c->in_body && !c->body_left)) {
		if (c->in_body) {
			size_t taken = length < c->body_left ? length : c->body_left;
			size_t keep = taken < KEPT_BODY - c->kept ? taken : KEPT_BODY - c->kept;
			memcpy(c->body + c->kept, bytes, keep);
			c->kept += keep;
			c->body_left -= taken;
			bytes += taken;
			length -= taken;
			if (c->body_left)
				return 1;
			if (!answer(c))
				return 0;
			continue;
		}
		size_t before = c->head_length, taken = length < MAX_HEAD - before ? length : MAX_HEAD - before;
		memcpy(c->head + before, bytes, taken);
		c->head[before + taken] = 0;
		char *end = strstr(c->head + (before > 3 ? before - 3 : 0), "\r\n\r\n");
		if (!end) {
			c->head_length += taken;
			if (c->head_length == MAX_HEAD)
				return drop(c), 0;
			return 1;
		}
		size_t head_length = end + 4 - c->head;
		c->form = memmem(c->head, strchr(c->head, '\n') - c->head, "/messages ", 10) ? &messages : &chat;
		char *field = strcasestr(c->head, "\r\ncontent-length:");
		c->body_left = field ? strtoul(field + 17, NULL, 10) : 0;
		c->in_body = 1;
		bytes += head_length - before;
		length -= head_length - before;
	}
	return 1;
}

static void receive(struct connection *c)
{
	static char buffer[262144];
	ssize_t got = recv(c->fd, buffer, sizeof buffer, MSG_DONTWAIT);
	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0)
		drop(c);
	else
		feed(c, buffer, got);
}

static void greet(int listener)
{
	int fd, on = 1;
	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		if (fd >= MAX_FDS) {
			close(fd);
			continue;
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		struct connection *c = calloc(1, sizeof *c);
		c->fd = fd;
		c->next = c->active = -1;
		connections[fd] = c;
		struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
		epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
	}
}

static long long now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return fprintf(stderr, "usage: double PORT EVENTS TICK_MICROSECONDS SLICES\n"), 2;
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	long long tick = atoll(argv[3]) * 1000, due = now_ns() + tick;
	int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	events = atol(argv[2]);
	ticking = tick > 0;
	long slices = atol(argv[4]) > 1 ? atol(argv[4]) : 1, slice = 0;
	prepare();
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096))
		return perror("double"), 1;
	poller = epoll_create1(0);
	struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, got[BATCH];
	epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
	for (;;) {
		long long wait = !actives ? -1 : tick ? due - now_ns() : 0;
		struct timespec limit = {.tv_sec = wait > 0 ? wait / 1000000000 : 0, .tv_nsec = wait > 0 ? wait % 1000000000 : 0};
		int n = epoll_pwait2(poller, got, BATCH, actives ? &limit : NULL, NULL);
		for (int i = 0; i < n; i++) {
			int fd = got[i].data.fd;
			if (fd == listener) {
				greet(listener);
				continue;
			}
			if (connections[fd] && got[i].events & EPOLLOUT && !flush(connections[fd]))
				continue;
			if (connections[fd] && got[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP))
				receive(connections[fd]);
		}
		if (tick && now_ns() < due)
			continue;
		slice = (slice + 1) % slices;
		for (long i = actives; i-- > 0;)
			if (i % slices == slice && i < actives && !active[i]->blocked)
				step(active[i]);
		/* Late ticks are made up for, but not more than a hundred of them. */
		due = tick && now_ns() - due < 100 * tick ? due + tick : now_ns() + tick;
	}
}
