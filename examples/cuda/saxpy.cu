// Command saxpy is the least CUDA program that says whether a leased GPU works: it
// lists the GPUs that it can see, computes a*x + y over N floats on each, checks every
// element, and writes what it found to /out/saxpy.json.
//
// It exits with 1 where there is no GPU, where a call fails, or where an element is
// wrong.

#include <cstdio>
#include <cstdlib>
#include <vector>

#define CHECK(call)                                                             \
	do {                                                                    \
		cudaError_t err = (call);                                       \
		if (err != cudaSuccess) {                                       \
			fprintf(stderr, "saxpy: %s: %s\n", #call, cudaGetErrorString(err)); \
			exit(1);                                                \
		}                                                               \
	} while (0)

__global__ void saxpy(size_t n, float a, const float *x, float *y)
{
	size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x;
	if (i < n)
		y[i] = a * x[i] + y[i];
}

// wrongAfter computes on one GPU, and returns how many elements are wrong. Values are small
// whole numbers, so that the result is exact on every device.
static size_t wrongAfter(size_t n, int rounds, float *milliseconds)
{
	std::vector<float> x(n), y(n);
	for (size_t i = 0; i < n; i++) {
		x[i] = (float)(i % 1000);
		y[i] = 1;
	}
	float *dx, *dy;
	CHECK(cudaMalloc(&dx, n * sizeof(float)));
	CHECK(cudaMalloc(&dy, n * sizeof(float)));
	CHECK(cudaMemcpy(dx, x.data(), n * sizeof(float), cudaMemcpyHostToDevice));
	CHECK(cudaMemcpy(dy, y.data(), n * sizeof(float), cudaMemcpyHostToDevice));

	cudaEvent_t begin, end;
	CHECK(cudaEventCreate(&begin));
	CHECK(cudaEventCreate(&end));
	CHECK(cudaEventRecord(begin));
	for (int r = 0; r < rounds; r++)
		saxpy<<<(unsigned)((n + 255) / 256), 256>>>(n, 2, dx, dy);
	CHECK(cudaGetLastError());
	CHECK(cudaEventRecord(end));
	CHECK(cudaEventSynchronize(end));
	CHECK(cudaEventElapsedTime(milliseconds, begin, end));
	CHECK(cudaMemcpy(y.data(), dy, n * sizeof(float), cudaMemcpyDeviceToHost));
	CHECK(cudaFree(dx));
	CHECK(cudaFree(dy));

	size_t wrong = 0;
	for (size_t i = 0; i < n; i++)
		wrong += y[i] != 2.0f * rounds * x[i] + 1;
	return wrong;
}

int main()
{
	const size_t n = 1 << 24;
	const int rounds = 100;
	int count = 0;
	CHECK(cudaGetDeviceCount(&count));
	FILE *out = fopen("/out/saxpy.json", "w");
	if (count == 0 || !out) {
		fprintf(stderr, count ? "saxpy: /out cannot be written\n" : "saxpy: no GPU is seen\n");
		return 1;
	}
	size_t wrong = 0;
	fprintf(out, "[");
	for (int d = 0; d < count; d++) {
		cudaDeviceProp p;
		CHECK(cudaSetDevice(d));
		CHECK(cudaGetDeviceProperties(&p, d));
		char uuid[37] = {0};
		for (int i = 0, at = 0; i < 16; i++)
			at += snprintf(uuid + at, sizeof uuid - at, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x",
				       (unsigned char)p.uuid.bytes[i]);
		float ms = 0;
		size_t bad = wrongAfter(n, rounds, &ms);
		double gigabytes = 3.0 * sizeof(float) * n * rounds / 1e6 / ms;
		printf("GPU-%s  %s  %.0f GB/s  %zu of %zu wrong\n", uuid, p.name, gigabytes, bad, n);
		fprintf(out, "%s{\"uuid\":\"GPU-%s\",\"model\":\"%s\",\"gigabytes_per_second\":%.1f,\"wrong\":%zu}",
			d ? "," : "", uuid, p.name, gigabytes, bad);
		wrong += bad;
	}
	fprintf(out, "]\n");
	return fclose(out) != 0 || wrong != 0;
}
