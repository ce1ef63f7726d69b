// SPDX-License-Identifier: GPL-2.0-only
/*
 * Running average of a step function, with an exponential half-life.
 *
 * What it does: `struct ravg` follows a value that changes in steps ("this task runs: 1", "this domain has
 * 300 of runnable weight") and answers "what was it on average lately", where a moment one half-life ago
 * counts half as much as the present one. Between two updates the value is constant, so the average has the
 * closed form
 *
 *         avg(t) = val + (avg(t0) - val) * 2^-((t - t0) / half_life)
 *
 * and no timer has to visit idle objects. Aggregates (per domain, per weight bucket) are running averages
 * too: because the formula is linear, the average of a sum is the sum of the averages, and a task's share
 * moves from one aggregate to another with ravg_sub() and ravg_add().
 *
 * Precision: 2^-x comes from two 64-entry tables and a cubic, in 1.63 fixed point, good to 2^-54; every
 * update rounds to nearest. Error against exact arithmetic: below 1e-6 relative plus one unit of 2^-32 per
 * update.
 *
 * Relies on: the includer for u32/u64 (vmlinux.h, or plain_types.h otherwise); one clock for all calls on
 * objects that exchange contributions; the caller's lock around every object (nothing here is atomic).
 * No loops and no calls, so it may be used inside a bpf_spin_lock section.
 *
 * Does not handle: half-lives above RAVG_HALF_LIFE_MAX_NS (they count as that), values that vary between
 * updates.
 */
#ifndef BPF_COMMON_RAVG_H
#define BPF_COMMON_RAVG_H

#include "plain_types.h"

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

/* Fraction bits of an average: `avg >> RAVG_FRACTION_BITS` is its whole part. */
#define RAVG_FRACTION_BITS 32

/* 2^42 ns, 73 minutes. Above it the quotient time / half-life would need more than 64-bit intermediates. */
#define RAVG_HALF_LIFE_MAX_NS (1ULL << 42)

/* ln(2) * 2^62: turns a fraction of a half-life in 2^-64 into an exponent of e in 2^-63. */
#define RAVG_LN2_SHIFTED 0x2c5c85fdf473de6bULL

struct ravg {
	u64 avg;    /* average as of val_at, 32.32 fixed point */
	u64 val_at; /* time of the last update, ns */
	u32 val;    /* the value since val_at */
	u32 pad;    /* keeps the size explicit for userspace; always 0 */
};

/* 2^-(i/64) in 1.63 fixed point. */
static const u64 ravg_pow2_coarse[64] = {
	0x8000000000000000ULL, 0x7e9f06067a4360baULL, 0x7d41d96db915019dULL, 0x7be86fb985689ddcULL,
	0x7a92be8a92436616ULL, 0x7940bb9e2cffd89dULL, 0x77f25ccdee6d7ae6ULL, 0x76a7980f6cca15c2ULL,
	0x75606373ee921c97ULL, 0x741cb5281e25ee34ULL, 0x72dc8373be41a454ULL, 0x719fc4b95f452d29ULL,
	0x70666f76154a7089ULL, 0x6f307a412f074892ULL, 0x6dfddbcbed791babULL, 0x6cce8ae13c57ebdbULL,
	0x6ba27e656b4eb57aULL, 0x6a79ad55e7f6fd10ULL, 0x69540ec8f895722dULL, 0x683199ed779592caULL,
	0x6712460a8fc24072ULL, 0x65f60a7f79393e2eULL, 0x64dcdec3371793d1ULL, 0x63c6ba6455dcd8aeULL,
	0x62b39508aa836d6fULL, 0x61a3666d124bb204ULL, 0x6096266533384a2bULL, 0x5f8bccdb3d398841ULL,
	0x5e8451cfac061b5fULL, 0x5d7fad59099f22feULL, 0x5c7dd7a3b17dcf75ULL, 0x5b7ec8f19468bbc9ULL,
	0x5a827999fcef3242ULL, 0x5988e20954889245ULL, 0x5891fac0e95612c8ULL, 0x579dbc56b48521baULL,
	0x56ac1f752150a563ULL, 0x55bd1cdad49f699cULL, 0x54d0ad5a753e077cULL, 0x53e6c9da74b29ab5ULL,
	0x52ff6b54d8a89c75ULL, 0x521a8ad704f3404fULL, 0x513821818624b40cULL, 0x50582887dcb8a7e1ULL,
	0x4f7a993048d088d7ULL, 0x4e9f6cd3967fdba8ULL, 0x4dc69cdceaa72a9cULL, 0x4cf022c9905bfd32ULL,
	0x4c1bf828c6dc54b8ULL, 0x4b4a169b900c2d00ULL, 0x4a7a77d47f7b84b1ULL, 0x49ad159789f37496ULL,
	0x48e1e9b9d588e19bULL, 0x4818ee218a3358eeULL, 0x47521cc5a2e6a9e0ULL, 0x468d6fadbf2dd4f3ULL,
	0x45cae0f1f545eb73ULL, 0x450a6abaa4b77ecdULL, 0x444c0740496d4294ULL, 0x438fb0cb4f468808ULL,
	0x42d561b3e6243d8aULL, 0x421d1461d66f2023ULL, 0x4166c34c5615d0ecULL, 0x40b268f9de0183baULL,
};

/* 2^-(j/4096) in 1.63 fixed point. */
static const u64 ravg_pow2_fine[64] = {
	0x8000000000000000ULL, 0x7ffa748dff8dc61fULL, 0x7ff4e9597bed93abULL, 0x7fef5e6272758c21ULL,
	0x7fe9d3a8e07bf086ULL, 0x7fe4492cc3571f68ULL, 0x7fdebeee185d94ddULL, 0x7fd934ecdce5ea7dULL,
	0x7fd3ab290e46d769ULL, 0x7fce21a2a9d73041ULL, 0x7fc89859acede72aULL, 0x7fc30f4e14e20bc6ULL,
	0x7fbd867fdf0acb3bULL, 0x7fb7fdef08bf7027ULL, 0x7fb2759b8f5762aaULL, 0x7faced85702a285dULL,
	0x7fa765aca88f6453ULL, 0x7fa1de1135ded717ULL, 0x7f9c56b315705eaeULL, 0x7f96cf92449bf692ULL,
	0x7f9148aec0b9b7b1ULL, 0x7f8bc2088721d86fULL, 0x7f863b9f952caca0ULL, 0x7f80b573e832a58bULL,
	0x7f7b2f857d8c51e5ULL, 0x7f75a9d452925dd4ULL, 0x7f702460649d92eaULL, 0x7f6a9f29b106d825ULL,
	0x7f651a30352731eeULL, 0x7f5f9573ee57c218ULL, 0x7f5a10f4d9f1c7ddULL, 0x7f548cb2f54e9fdfULL,
	0x7f4f08ae3dc7c426ULL, 0x7f4984e6b0b6cc1dULL, 0x7f44015c4b756c94ULL, 0x7f3e7e0f0b5d77bcULL,
	0x7f38fafeedc8dd26ULL, 0x7f33782bf011a9c2ULL, 0x7f2df5960f9207e1ULL, 0x7f28733d49a43f2dULL,
	0x7f22f1219ba2b4aeULL, 0x7f1d6f4302e7eac6ULL, 0x7f17eda17cce812eULL, 0x7f126c3d06b134faULL,
	0x7f0ceb159deae091ULL, 0x7f076a2b3fd67bb2ULL, 0x7f01e97de9cf1b6eULL, 0x7efc690d992ff22aULL,
	0x7ef6e8da4b544f9aULL, 0x7ef168e3fd97a0c6ULL, 0x7eebe92aad557001ULL, 0x7ee669ae57e964edULL,
	0x7ee0ea6efaaf4479ULL, 0x7edb6b6c9302f0dfULL, 0x7ed5eca71e4069a1ULL, 0x7ed06e1e99c3cb8bULL,
	0x7ecaefd302e950afULL, 0x7ec571c4570d5067ULL, 0x7ebff3f2938c3f4fULL, 0x7eba765db5c2af49ULL,
	0x7eb4f905bb0d4f78ULL, 0x7eaf7beaa0c8ec3eULL, 0x7ea9ff0c64526f40ULL, 0x7ea4826b0306df5fULL,
};

/*
 * a * b / 2^63, rounded to nearest, for b <= 2^63. BPF has neither a 128-bit type nor a high multiply, hence
 * the four 32-bit products.
 */
static __always_inline u64 ravg_mul63(u64 a, u64 b)
{
	u64 a_hi = a >> 32, a_lo = a & 0xffffffffULL;
	u64 b_hi = b >> 32, b_lo = b & 0xffffffffULL;
	u64 low = a_lo * b_lo, cross = a_lo * b_hi, cross2 = a_hi * b_lo;
	u64 mid;

#ifdef __bpf__
	/* Hides the idiom from compilers that rebuild a 128-bit product: BPF would have to call for it. */
	__asm__("" : "+r"(cross));
#endif
	mid = (low >> 32) + (cross & 0xffffffffULL) + (cross2 & 0xffffffffULL);
	/* mid holds bits 32..65 of the product: drop 31 of them and round. */
	return ((a_hi * b_hi + (cross >> 32) + (cross2 >> 32)) << 1) + ((mid + (1ULL << 30)) >> 31);
}

/* 2^-(x / 2^64) in 1.63 fixed point: 2^63 for x = 0, just above 2^62 for the largest x. */
static __always_inline u64 ravg_pow2_neg(u64 x)
{
	u64 coarse = ravg_pow2_coarse[(x >> 58) & 63];
	u64 fine = ravg_pow2_fine[(x >> 52) & 63];
	/* The rest is below 2^-12 of a half-life; e^-t = 1 - t + t^2/2 - t^3/6, t below 1.7e-4. */
	u64 t = ravg_mul63(x & ((1ULL << 52) - 1), RAVG_LN2_SHIFTED);
	u64 t_short = (t + (1ULL << 18)) >> 19;                /* in 2^-44, below 2^32 */
	u64 square = t_short * t_short;                        /* in 2^-88 */
	u64 half_square = (square + (1ULL << 25)) >> 26;       /* t^2/2 in 2^-63 */
	u64 cube = ((square >> 32) * t_short) >> 37;           /* t^3 in 2^-63, below 2^26 */
	u64 rest = (1ULL << 63) - t + half_square - ((cube * 178956971) >> 30); /* factor is 2^30 / 6 */

	return ravg_mul63(ravg_mul63(coarse, fine), rest);
}

/* distance * 2^-(elapsed_ns / half_life_ns), rounded to nearest; half_life_ns must not be 0. */
static __always_inline u64 ravg_decay(u64 distance, u64 elapsed_ns, u64 half_life_ns)
{
	u64 halvings, rest, digit, x, kept;

	if (half_life_ns > RAVG_HALF_LIFE_MAX_NS)
		half_life_ns = RAVG_HALF_LIFE_MAX_NS;
	halvings = elapsed_ns / half_life_ns;
	if (halvings > 63)
		return 0;

	/* rest / half_life in 64 bits by long division, 21 + 21 + 22 bits: the remainder has at most 42. */
	rest = elapsed_ns - halvings * half_life_ns;
	digit = (rest << 21) / half_life_ns;
	rest = (rest << 21) - digit * half_life_ns;
	x = digit << 43;
	digit = (rest << 21) / half_life_ns;
	rest = (rest << 21) - digit * half_life_ns;
	x |= digit << 22;
	x |= (rest << 22) / half_life_ns;

	kept = ravg_mul63(distance, ravg_pow2_neg(x));
	halvings &= 63;
	/* The second term is the last bit shifted out: rounds to nearest, and is 0 for no halving. */
	return (kept >> halvings) + (((kept << 1) >> halvings) & 1);
}

/*
 * The average at now_ns, 32.32 fixed point; r is not changed. A now_ns before the last update (clocks of two
 * CPUs may differ a little) reads the average of that update. With half_life_ns 0 the average is the value.
 */
static __always_inline u64 ravg_read(const struct ravg *r, u64 now_ns, u64 half_life_ns)
{
	u64 target = (u64)r->val << RAVG_FRACTION_BITS;
	u64 avg = r->avg;
	u64 distance;

	if (!half_life_ns)
		return target;
	if (now_ns <= r->val_at)
		return avg;
	/* One call for both directions: it is a hundred instructions wherever it is inlined. */
	distance = avg >= target ? avg - target : target - avg;
	distance = ravg_decay(distance, now_ns - r->val_at, half_life_ns);
	return avg >= target ? target + distance : target - distance;
}

/*
 * Brings r to now_ns with the value it had, then lets new_val hold from there on. When now_ns is before the
 * last update, nothing decays and the time of that update is kept.
 */
static __always_inline void ravg_update(struct ravg *r, u32 new_val, u64 now_ns, u64 half_life_ns)
{
	r->avg = ravg_read(r, now_ns, half_life_ns);
	if (now_ns > r->val_at)
		r->val_at = now_ns;
	r->val = new_val;
}

/* Brings r to now_ns with the value it has. */
static __always_inline void ravg_settle(struct ravg *r, u64 now_ns, u64 half_life_ns)
{
	ravg_update(r, r->val, now_ns, half_life_ns);
}

/* The later of now_ns and the last update of r: the earliest moment to which r can be brought. */
static __always_inline u64 ravg_not_before(const struct ravg *r, u64 now_ns)
{
	return now_ns < r->val_at ? r->val_at : now_ns;
}

/* aggregate += part for two objects of the same moment; saturates. */
static __always_inline void ravg_plus(struct ravg *aggregate, const struct ravg *part)
{
	aggregate->avg = aggregate->avg > ~0ULL - part->avg ? ~0ULL : aggregate->avg + part->avg;
	aggregate->val = aggregate->val > ~0U - part->val ? ~0U : aggregate->val + part->val;
}

/* aggregate -= part for two objects of the same moment; stops at 0. */
static __always_inline void ravg_minus(struct ravg *aggregate, const struct ravg *part)
{
	aggregate->avg = aggregate->avg < part->avg ? 0 : aggregate->avg - part->avg;
	aggregate->val = aggregate->val < part->val ? 0 : aggregate->val - part->val;
}

/*
 * Adds the contribution of part (average and value) to the aggregate. Both are brought to now_ns, or to the
 * later of their updates when that clock runs behind. Saturates.
 */
static __always_inline void ravg_add(struct ravg *aggregate, struct ravg *part, u64 now_ns, u64 half_life_ns)
{
	now_ns = ravg_not_before(part, ravg_not_before(aggregate, now_ns));
	ravg_settle(aggregate, now_ns, half_life_ns);
	ravg_settle(part, now_ns, half_life_ns);
	ravg_plus(aggregate, part);
}

/*
 * Takes the contribution of part out of the aggregate, both brought to the same moment as in ravg_add().
 * Stops at 0: rounding may leave the aggregate a few 2^-32 short of the sum of its parts.
 */
static __always_inline void ravg_sub(struct ravg *aggregate, struct ravg *part, u64 now_ns, u64 half_life_ns)
{
	now_ns = ravg_not_before(part, ravg_not_before(aggregate, now_ns));
	ravg_settle(aggregate, now_ns, half_life_ns);
	ravg_settle(part, now_ns, half_life_ns);
	ravg_minus(aggregate, part);
}

/*
 * Moves the contribution of part from one aggregate to another; all three are brought to the same moment. The
 * sum of the aggregates is unchanged to the last bit unless one of them saturates. `to` always receives the
 * whole part, so that it stays the sum of its parts even if `from` was not.
 */
static __always_inline void ravg_transfer(struct ravg *from, struct ravg *to, struct ravg *part, u64 now_ns,
					  u64 half_life_ns)
{
	now_ns = ravg_not_before(part, ravg_not_before(to, ravg_not_before(from, now_ns)));
	ravg_settle(from, now_ns, half_life_ns);
	ravg_settle(to, now_ns, half_life_ns);
	ravg_settle(part, now_ns, half_life_ns);
	ravg_minus(from, part);
	ravg_plus(to, part);
}

#endif /* BPF_COMMON_RAVG_H */
