/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A small object with one thing of every kind that the seam can name: variables in each data section, maps, programs
 * of type syscall, and an exit record with the layout and section names of the scx headers.
 *
 * Relies on clang's BPF target only: no kernel headers, no libbpf headers.
 * Does not handle: struct_ops; attaching a scheduler needs a kernel with sched_ext.
 */
typedef unsigned int u32;
typedef int s32;
typedef long long s64;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))

enum { MAP_HASH = 1, MAP_ARRAY = 2, MAP_PERCPU_ARRAY = 6 };

static void *(*map_lookup)(void *map, const void *key) = (void *)1;
static u64 (*current_cpu)(void) = (void *)8;

struct pair {
	u64 first;
	u64 second;
};

struct {
	int (*type)[MAP_HASH];
	int (*max_entries)[64];
	u32 *key;
	struct pair *value;
} pairs SEC(".maps");

struct {
	int (*type)[MAP_ARRAY];
	int (*max_entries)[4];
	u32 *key;
	u64 *value;
} slots SEC(".maps");

struct {
	int (*type)[MAP_PERCPU_ARRAY];
	int (*max_entries)[1];
	u32 *key;
	u64 *value;
} per_cpu SEC(".maps");

const volatile u32 chosen = 7;
volatile u64 zeroed;
volatile u32 started = 42;
volatile u32 neighbour = 43;

struct user_exit_info {
	s32 kind;
	s32 exit_cpu;
	s64 exit_code;
	char reason[128];
	char msg[1024];
};
volatile struct user_exit_info uei SEC(".data");
volatile char uei_dump[64] SEC(".data.uei_dump");

struct sum {
	u64 left;
	u64 right;
	u64 result;
};

/* Adds in its context, counts its runs in a variable and in this CPU's slot. */
SEC("syscall") int add(struct sum *sum)
{
	u32 key = 0;
	u64 *mine;

	sum->result = sum->left + sum->right;
	zeroed += 1;
	mine = map_lookup(&per_cpu, &key);
	if (mine)
		*mine += 100 + current_cpu();
	return -5;
}

/* Leaves an exit record as a scheduler's exit callback does. */
SEC("syscall") int finish(void *context)
{
	uei_dump[0] = 'D';
	uei_dump[1] = '\n';
	uei.reason[0] = 'R';
	uei.msg[0] = 'M';
	uei.exit_cpu = -1;
	uei.exit_code = 1LL << 48 | 1LL << 32;
	uei.kind = 66;
	return 0;
}

SEC("socket") int not_a_syscall(void *context)
{
	return 0;
}

char object_license[] SEC("license") = "GPL";
