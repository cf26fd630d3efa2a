/* Reads the machine from its file. Nothing here trusts the file: what is too
 * long is cut, what is not known is told on stderr and ends the process, so that
 * a slip in a test is seen. */
#define _GNU_SOURCE
#include "scenario.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

machine the_machine;

static const struct {
	const char *key;
	size_t at;
} machine_numbers[] = {
	{ "cuda", offsetof(machine, cuda) },
	{ "count", offsetof(machine, count) },
	{ "init", offsetof(machine, init) },
	{ "nodes", offsetof(machine, nodes) },
	{ "cc_environment", offsetof(machine, cc_environment) },
	{ "cc_feature", offsetof(machine, cc_feature) },
	{ "cc_devtools", offsetof(machine, cc_devtools) },
	{ "cc_ready", offsetof(machine, cc_ready) },
}, card_numbers[] = {
#define N(field) { #field, offsetof(card, field) }
	N(memory_total), N(memory_used), N(memory_reserved), N(major), N(minor),
	N(power), N(power_limit), N(energy), N(sm_clock), N(mem_clock), N(sm_clock_max), N(mem_clock_max),
	N(temperature), N(memory_temperature), N(margin), N(slowdown), N(shutdown), N(gpu_max), N(mem_max),
	N(gpu_util), N(mem_util), N(ecc_mode), N(ecc_corrected), N(ecc_uncorrected),
	N(retired_sbe), N(retired_dbe), N(retired_pending),
	N(remapped_correctable), N(remapped_uncorrectable), N(remap_pending), N(remap_failed),
	N(recovery_action), N(compute_mode), N(pcie_replays), N(throttle), N(mig_mode), N(mig_pending),
	N(compute_processes), N(graphics_processes), N(process_memory), N(xid), N(minor_number), N(gi), N(ci),
#undef N
};

static void wrong(const char *line) {
	fprintf(stderr, "scenario: cannot read the line %s\n", line);
	_exit(70);
}

/* text copies a value, with \xNN as one byte. */
static void text(char to[TEXT], const char *from) {
	size_t n = 0;
	while (*from && n < TEXT - 1) {
		unsigned byte;
		if (from[0] == '\\' && from[1] == 'x' && sscanf(from + 2, "%2x", &byte) == 1) {
			to[n++] = (char)byte;
			from += 4;
		} else {
			to[n++] = *from++;
		}
	}
	to[n] = 0;
}

static void number_at(void *base, size_t at, const char *value, const char *line) {
	number *n = (number *)((char *)base + at);
	char *end;
	n->value = strtoll(value, &end, 0);
	n->known = end != value;
	if (!n->known || *end)
		wrong(line);
}

static int is_number(void *base, int of_card, const char *key, const char *value, const char *line) {
	size_t count = of_card ? sizeof card_numbers / sizeof *card_numbers : sizeof machine_numbers / sizeof *machine_numbers;
	for (size_t i = 0; i < count; i++) {
		const char *name = of_card ? card_numbers[i].key : machine_numbers[i].key;
		if (!strcmp(name, key)) {
			number_at(base, of_card ? card_numbers[i].at : machine_numbers[i].at, value, line);
			return 1;
		}
	}
	return 0;
}

/* add_rule reads "CALL [CODE] [after N]". Within a card it is about that card. */
static void add_rule(machine *m, int what, const char *value, const char *line) {
	if (m->rules == MAX_RULES)
		wrong(line);
	rule *r = &m->rule[m->rules++];
	r->what = what;
	r->card = m->cards - 1;
	int used = 0;
	if (sscanf(value, "%63s%n", r->call, &used) != 1)
		wrong(line);
	value += used;
	if (what == FAIL) {
		if (sscanf(value, "%d%n", &r->code, &used) != 1)
			wrong(line);
		value += used;
	}
	sscanf(value, " after %lld", &r->after);
}

static void card_line(card *c, const char *key, const char *value, const char *line) {
	if (!strcmp(key, "name"))
		text(c->name, value);
	else if (!strcmp(key, "bus"))
		text(c->bus, value);
	else if (!strcmp(key, "unterminated"))
		c->unterminated = 1;
	else if (!strcmp(key, "capability")) {
		c->major.known = c->minor.known = sscanf(value, "%lld %lld", &c->major.value, &c->minor.value) == 2;
		if (!c->major.known)
			wrong(line);
	} else if (!strcmp(key, "link")) {
		if (c->links == MAX_LINKS)
			wrong(line);
		text(c->link[c->links++], !strcmp(value, "down") ? "" : value);
	} else if (!is_number(c, 1, key, value, line))
		wrong(line);
}

static void read_line(machine *m, const char *line) {
	char key[64];
	int used = 0;
	if (sscanf(line, " %63s%n", key, &used) != 1 || key[0] == '#')
		return;
	const char *value = line + used;
	while (*value == ' ' || *value == '\t')
		value++;
	if (!strcmp(key, "fail"))
		add_rule(m, FAIL, value, line);
	else if (!strcmp(key, "hang"))
		add_rule(m, HANG, value, line);
	else if (!strcmp(key, "crash"))
		add_rule(m, CRASH, value, line);
	else if (!strcmp(key, "gpu") || !strcmp(key, "slice")) {
		if (m->cards == MAX_CARDS)
			wrong(line);
		card *c = &m->card[m->cards++];
		c->parent = -1;
		if (key[0] == 's')
			for (int i = m->cards - 2; i >= 0 && c->parent < 0; i--)
				if (m->card[i].parent < 0)
					c->parent = i;
		text(c->uuid, value);
	} else if (m->cards > 0)
		card_line(&m->card[m->cards - 1], key, value, line);
	else if (!strcmp(key, "driver"))
		text(m->driver, value);
	else if (!strcmp(key, "library"))
		text(m->library, value);
	else if (!is_number(m, 0, key, value, line))
		wrong(line);
}

/* keep_counts lets rules go on counting where the file was read again. */
static void keep_counts(const machine *old, machine *m) {
	for (int i = 0; i < m->rules && i < old->rules; i++)
		if (!strcmp(m->rule[i].call, old->rule[i].call) && m->rule[i].after == old->rule[i].after)
			m->rule[i].calls = old->rule[i].calls;
}

/* own opens the library's own file where its machine begins; NULL: it has none. */
static FILE *own(void) {
	static const char mark[] = "\n# machine of this library\n";
	Dl_info info;
	if (!dladdr((void *)own, &info) || !info.dli_fname)
		return NULL;
	FILE *f = fopen(info.dli_fname, "r");
	long begins = -1;
	size_t met = 0;
	for (int c; f && (c = getc(f)) != EOF;) {
		met = c == mark[met] ? met + 1 : c == mark[0];
		if (met == sizeof mark - 1) {
			begins = ftell(f);
			met = 0;
		}
	}
	if (f && (begins < 0 || fseek(f, begins, SEEK_SET))) {
		fclose(f);
		f = NULL;
	}
	return f;
}

int scenario_minor(int card) {
	if (the_machine.card[card].minor_number.known)
		return (int)the_machine.card[card].minor_number.value;
	int n = 0;
	for (int i = 0; i < card; i++)
		n += the_machine.card[i].parent < 0;
	return n;
}

int scenario_place(int slice) {
	int n = 0;
	for (int i = 0; i < slice; i++)
		n += the_machine.card[i].parent == the_machine.card[slice].parent;
	return n;
}

/* opened tells whether a node can be opened, for reading alone if need be. */
static int opened(const char *node) {
	char path[512];
	const char *root = getenv("SOUK_NVML_DEV_ROOT");
	snprintf(path, sizeof path, "%s%s", root ? root : "", node);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* A slice's two nodes have numbers 16 and 17 for the first of its card, and so on. */
int scenario_shown(int card) {
	if (!the_machine.nodes.known || !the_machine.nodes.value)
		return 1;
	int parent = the_machine.card[card].parent;
	char node[64];
	snprintf(node, sizeof node, "/dev/nvidia%d", scenario_minor(parent < 0 ? card : parent));
	if (!opened(node) || parent < 0)
		return opened(node);
	for (int i = 0; i < 2; i++) {
		snprintf(node, sizeof node, "/dev/nvidia-caps/nvidia-cap%d", 16 + 2 * scenario_place(card) + i);
		if (!opened(node))
			return 0;
	}
	return 1;
}

void scenario_read(void) {
	static machine fresh;
	memset(&fresh, 0, sizeof fresh);
	const char *path = getenv("SOUK_NVML_SCENARIO");
	FILE *f = path && *path ? fopen(path, "r") : own();
	if (f) {
		char line[512];
		while (fgets(line, sizeof line, f)) {
			line[strcspn(line, "\r\n")] = 0;
			read_line(&fresh, line);
		}
		fclose(f);
	} else if (path && the_machine.cards) {
		return; /* it is being written anew */
	}
	keep_counts(&the_machine, &fresh);
	the_machine = fresh;
}

nvmlReturn_t scenario_meet(const char *call, int card) {
	for (int i = 0; i < the_machine.rules; i++) {
		rule *r = &the_machine.rule[i];
		int every = !strcmp(r->call, "*") && card >= 0;
		if ((!every && strcmp(r->call, call)) || (r->card >= 0 && card >= 0 && r->card != card))
			continue;
		if (r->calls++ < r->after)
			continue;
		switch (r->what) {
		case FAIL:
			return (nvmlReturn_t)r->code;
		case HANG:
			for (;;)
				pause();
		case CRASH:
			abort();
		}
	}
	return NVML_SUCCESS;
}
