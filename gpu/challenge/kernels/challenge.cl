// The kernels of a challenge, in OpenCL C 1.2 without its library, so that the same
// source becomes PTX. Package challenge says in words what each computes; the bytes
// that they write are the same on every device.

#ifdef __NVPTX__
#define ITEM (__nvvm_read_ptx_sreg_ctaid_x() * __nvvm_read_ptx_sreg_ntid_x() + __nvvm_read_ptx_sreg_tid_x())
#define GROUP __nvvm_read_ptx_sreg_ctaid_x()
#define MEMBER __nvvm_read_ptx_sreg_tid_x()
#define BARRIER __syncthreads()
#define UNROLL _Pragma("unroll") // what is indexed by a known number stays in registers
#define INLINE static inline __attribute__((always_inline))
#else
#define ITEM ((uint)get_global_id(0))
#define GROUP ((uint)get_group_id(0))
#define MEMBER ((uint)get_local_id(0))
#define BARRIER barrier(CLK_LOCAL_MEM_FENCE)
#define UNROLL // a processor's compiler takes half a minute over it
#define INLINE static inline
#endif

#define SIDE 128u               // rows and columns of a tile
#define TILE (SIDE * SIDE)      // its elements
#define MEMBERS 256u            // work items that compute one tile
#define STEP 8u                 // words of a line that a step takes, of four elements each
#define PART 8u                 // rows and columns that a work item computes

// ---- operands ----

INLINE uint high(uint a, uint b) { return (uint)(((ulong)a * b) >> 32); }

// fill writes a matrix, line by line: 16 elements for each work item. Words is the
// length of a line in words; first is the first block.
__kernel void fill(__global uint *to, uint first, uint words, uint matrix, uint narrow, uint key0, uint key1, uint salt) {
	uint block = first + ITEM, perLine = words / 4;
	uint c0 = block % perLine, c1 = block / perLine, c2 = matrix, c3 = salt;
	for (int i = 0; i < 10; i++) {
		uint a = high(0xD2511F53u, c0), b = 0xD2511F53u * c0;
		uint c = high(0xCD9E8D57u, c2), d = 0xCD9E8D57u * c2;
		c0 = c ^ c1 ^ key0;
		c1 = d;
		c2 = a ^ c3 ^ key1;
		c3 = b;
		key0 += 0x9E3779B9u;
		key1 += 0xBB67AE85u;
	}
	uint out[4] = {c0, c1, c2, c3};
	for (int i = 0; i < 4; i++) {
		uint w = out[i];
		if (narrow) { // the upper four bits of each byte, with their sign
			w = (w >> 4) & 0x0f0f0f0fu;
			w |= (w & 0x08080808u) * 30u;
		}
		to[(ulong)block * 4 + i] = w;
	}
}

// ---- products ----

INLINE int dot(uint a, uint b, int sum) {
#ifdef __NVPTX__
	__asm__("dp4a.s32.s32 %0, %1, %2, %3;" : "=r"(sum) : "r"(a), "r"(b), "r"(sum));
	return sum;
#else
	return sum + (char)a * (char)b + (char)(a >> 8) * (char)(b >> 8) + (char)(a >> 16) * (char)(b >> 16) + (char)(a >> 24) * (char)(b >> 24);
#endif
}

INLINE float dotf(uint a, uint b, float sum) {
	sum += (float)(char)a * (float)(char)b;
	sum += (float)(char)(a >> 8) * (float)(char)(b >> 8);
	sum += (float)(char)(a >> 16) * (float)(char)(b >> 16);
	sum += (float)(char)(a >> 24) * (float)(char)(b >> 24);
	return sum;
}

// One work group computes one tile: it takes a few words of its 128 lines of either
// operand into local memory, by word and then by line, so that neighbours read
// neighbours, and each work item adds to 8 by 8 elements.
#define PRODUCT(name, type, add)                                                                                            \
__kernel void name(__global const uint *a, __global const uint *b, __global int *tiles, uint first, uint words) {           \
	__local uint rows[STEP * SIDE], columns[STEP * SIDE];                                                                   \
	uint tile = first + GROUP, side = words * 4 / SIDE, member = MEMBER;                                                    \
	__global const uint *top = a + (ulong)(tile / side) * SIDE * words, *left = b + (ulong)(tile % side) * SIDE * words;    \
	uint row = member / (SIDE / PART) * PART, column = member % (SIDE / PART) * PART;                                       \
	type sum[PART][PART];                                                                                                   \
	UNROLL for (uint i = 0; i < PART; i++)                                                                                  \
		UNROLL for (uint j = 0; j < PART; j++)                                                                              \
			sum[i][j] = 0;                                                                                                  \
	for (uint from = 0; from < words; from += STEP) {                                                                       \
		for (uint k = member; k < SIDE * STEP; k += MEMBERS) {                                                              \
			rows[k % STEP * SIDE + k / STEP] = top[(ulong)(k / STEP) * words + from + k % STEP];                            \
			columns[k % STEP * SIDE + k / STEP] = left[(ulong)(k / STEP) * words + from + k % STEP];                        \
		}                                                                                                                   \
		BARRIER;                                                                                                            \
		UNROLL for (uint k = 0; k < STEP; k++)                                                                              \
			UNROLL for (uint i = 0; i < PART; i++)                                                                          \
				UNROLL for (uint j = 0; j < PART; j++)                                                                      \
					sum[i][j] = add(rows[k * SIDE + row + i], columns[k * SIDE + column + j], sum[i][j]);                   \
		BARRIER;                                                                                                            \
	}                                                                                                                       \
	UNROLL for (uint i = 0; i < PART; i++)                                                                                  \
		UNROLL for (uint j = 0; j < PART; j++)                                                                              \
			tiles[(ulong)tile * TILE + (row + i) * SIDE + column + j] = (int)sum[i][j];                                     \
}

PRODUCT(multiply, int, dot)
PRODUCT(multiply_half, float, dotf)

// ---- SHA-256 ----

INLINE uint swap(uint x) { return x << 24 | (x & 0xff00u) << 8 | (x >> 8 & 0xff00u) | x >> 24; }
INLINE uint turn(uint x, uint n) { return x >> n | x << (32 - n); }

__constant uint K[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

INLINE void begin(uint *state) {
	state[0] = 0x6a09e667;
	state[1] = 0xbb67ae85;
	state[2] = 0x3c6ef372;
	state[3] = 0xa54ff53a;
	state[4] = 0x510e527f;
	state[5] = 0x9b05688c;
	state[6] = 0x1f83d9ab;
	state[7] = 0x5be0cd19;
}

INLINE void compress(uint *state, uint *w) {
	uint a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6], h = state[7];
	UNROLL for (uint i = 0; i < 64; i++) {
		if (i >= 16) {
			uint x = w[(i + 1) & 15], y = w[(i + 14) & 15];
			w[i & 15] += w[(i + 9) & 15] + (turn(x, 7) ^ turn(x, 18) ^ x >> 3) + (turn(y, 17) ^ turn(y, 19) ^ y >> 10);
		}
		uint t = h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + K[i] + w[i & 15];
		uint u = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
		h = g;
		g = f;
		f = e;
		e = d + t;
		d = c;
		c = b;
		b = a;
		a = t + u;
	}
	state[0] += a;
	state[1] += b;
	state[2] += c;
	state[3] += d;
	state[4] += e;
	state[5] += f;
	state[6] += g;
	state[7] += h;
}

// digest writes the SHA-256 of a byte, of some words before the data, and of the
// data. Since one byte comes first, each word of a block holds the end of one word
// and the beginning of the next. The words are a multiple of 8.
INLINE void digest(uint first, __global const uint *front, uint before, __global const uint *data, uint words, __global uint *to) {
	uint state[8], w[16], carry = first, count = before + words;
	begin(state);
	for (uint from = 0; from <= count; from += 16) {
		UNROLL for (uint i = 0; i < 16; i++) {
			uint at = from + i, word = 0;
			if (at < count) {
				uint big = swap(at < before ? front[at] : data[at - before]);
				word = carry << 24 | big >> 8;
				carry = big & 0xffu;
			} else if (at == count) {
				word = carry << 24 | 0x800000u;
			} else if (i == 15) {
				word = (1 + 4 * count) * 8;
			}
			w[i] = word;
		}
		compress(state, w);
	}
	UNROLL for (uint i = 0; i < 8; i++)
		to[i] = swap(state[i]);
}

// hash writes the hash of each tile as a leaf: of a zero byte, of nonce if there is
// one, and of the tile.
__kernel void hash(__global const uint *tiles, __global uint *nodes, __global const uint *nonce, uint withNonce, uint first) {
	uint tile = first + ITEM;
	digest(0, nonce, withNonce ? 8 : 0, tiles + (ulong)tile * TILE, TILE, nodes + (ulong)tile * 8);
}

// pair writes the hash of each pair of nodes: a level of the tree above the one at
// from, whose nodes begin at to.
__kernel void pair(__global uint *nodes, uint from, uint to) {
	uint item = ITEM;
	digest(1, nodes, 0, nodes + (ulong)(from + 2 * item) * 8, 16, nodes + (ulong)(to + item) * 8);
}
