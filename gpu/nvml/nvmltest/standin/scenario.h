/* The machine that the stand-in for libnvidia-ml.so.1 plays.
 *
 * It is read from the text file that SOUK_NVML_SCENARIO names, one "key value"
 * a line, # before a comment. Keys before the first "gpu" are about the machine;
 * "gpu UUID" begins a card, "slice UUID" a MIG slice of the card before it. What
 * a card is not given it cannot tell: the call answers NOT_SUPPORTED. The file is
 * read again at each nvmlInit and each count of the cards, so that a test changes
 * a machine by writing the file anew. In texts, \xNN is one byte. A library without
 * the variable has its machine at the end of its own file, so that it can be taken
 * to where no other file is. */
#ifndef SCENARIO_H
#define SCENARIO_H

#include "nvml.h"

enum { MAX_CARDS = 64, MAX_LINKS = 18, MAX_RULES = 32, TEXT = 128 };

/* A number that may be missing. */
typedef struct {
	int known;
	long long value;
} number;

/* What happens to one function, or with "*" to all that take a device. */
typedef struct {
	char call[64];
	enum { FAIL, HANG, CRASH } what;
	int code;        /* of FAIL */
	int card;        /* of calls about a card; -1: every card */
	long long after; /* calls that still go well */
	long long calls;
} rule;

typedef struct {
	char uuid[TEXT], name[TEXT], bus[TEXT];
	int unterminated; /* texts fill their buffers, without a NUL */
	int parent;       /* of a slice; -1 for a card */
	int links;
	char link[MAX_LINKS][TEXT]; /* bus ids at the other ends; empty: the link is down */
	number memory_total, memory_used, memory_reserved;
	number major, minor;
	number power, power_limit, energy;
	number sm_clock, mem_clock, sm_clock_max, mem_clock_max;
	number temperature, memory_temperature, margin, slowdown, shutdown, gpu_max, mem_max;
	number gpu_util, mem_util;
	number ecc_mode, ecc_corrected, ecc_uncorrected;
	number retired_sbe, retired_dbe, retired_pending;
	number remapped_correctable, remapped_uncorrectable, remap_pending, remap_failed;
	number recovery_action, compute_mode, pcie_replays, throttle;
	number mig_mode, mig_pending;
	number compute_processes, graphics_processes, process_memory;
	number xid; /* told once to each event set */
	number minor_number, gi, ci; /* default: its place among the cards, or among the slices of its card */
} card;

typedef struct {
	char driver[TEXT], library[TEXT];
	number cuda, count, init;
	number nodes; /* 1: show only cards whose node can be opened, as the real library does */
	number cc_environment, cc_feature, cc_devtools, cc_ready;
	int cards;
	card card[MAX_CARDS];
	int rules;
	rule rule[MAX_RULES];
} machine;

extern machine the_machine;

/* scenario_read reads the file. Without one, the machine has no cards. */
void scenario_read(void);

/* scenario_meet applies the rules to a call; NVML_SUCCESS: it goes on. */
nvmlReturn_t scenario_meet(const char *call, int card);

/* scenario_shown tells whether the library shows a card or slice. */
int scenario_shown(int card);

/* scenario_minor is the number in the name of a card's node. */
int scenario_minor(int card);

/* scenario_place is the place of a slice among those of its card, from 0. */
int scenario_place(int slice);

/* scenario_seconds is how long the driver has been loaded: as long as the machine runs,
   and not as long as a process that asks. */
double scenario_seconds(void);

static inline card *of(nvmlDevice_t d) { return (card *)d.handle; }
static inline int index_of(nvmlDevice_t d) { return (int)(of(d) - the_machine.card); }

/* MEET applies the rules to a call about one device, and ends it if they say so.
 * A card that the file no longer has is lost. */
#define MEET(d)                                                                                             \
	do {                                                                                                \
		nvmlReturn_t met = index_of(d) >= the_machine.cards ? NVML_ERROR_GPU_IS_LOST                \
								    : scenario_meet(__func__, index_of(d)); \
		if (met != NVML_SUCCESS)                                                                    \
			return met;                                                                         \
	} while (0)

#endif
