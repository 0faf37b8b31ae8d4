/* The known answers of docs/latent-rng.md (kat_vectors), each line by the engine's own code. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "latents.h"
#include "philox.h"

static float normal[LATENT_TABLE], uniform[LATENT_TABLE];

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Returns 1 if a line's answer differs, 0 if it is right, -1 for a comment and for the table's hash, which Python's
 * tests check. */
static int check(char *line) {
    char prior[16];
    uint64_t seed, index, nz, label;
    uint32_t c[4], k[2], want[4], u, answer;
    int used = 0;
    if (sscanf(line, "philox %x %x %x %x %x %x -> %x %x %x %x", c, c + 1, c + 2, c + 3, k, k + 1, want, want + 1,
               want + 2, want + 3) == 10) {
        philox4x32(c, k[0], k[1]);
        return memcmp(c, want, sizeof c) != 0;
    }
    if (sscanf(line, "entry %u %x", &u, &answer) == 2) return bits_of(normal[u]) != answer;
    if (sscanf(line, "label %" SCNu64 " %" SCNu64 " %" SCNu64 " -> %" SCNu64, &seed, &index, &nz, &label) == 4)
        return gan_i_label(seed, index, (uint32_t)nz) != (int64_t)label;
    if (sscanf(line, "latent %15s %" SCNu64 " %" SCNu64 " %" SCNu64 " ->%n", prior, &seed, &index, &nz, &used) == 4 &&
        used) {
        float z[1024];
        gan_i_latent(strcmp(prior, "normal") ? uniform : normal, seed, index, (uint32_t)nz, z);
        char *at = line + used;
        for (uint64_t i = 0; i < nz; i++)
            if (strtoul(at, &at, 16) != bits_of(z[i])) return 1;
        return 0;
    }
    return -1;
}

int main(int argc, char **argv) {
    static char line[1 << 16];
    FILE *f = fopen(argc > 1 ? argv[1] : KAT_VECTORS, "r");
    int done = 0, failed = 0;
    if (!f) return 2;
    gan_i_normal_table(normal);
    gan_i_uniform_table(uniform);
    while (fgets(line, sizeof line, f)) {
        const int result = check(line);
        done += result >= 0;
        if (result > 0) failed++, printf("FAILED %s", line);
    }
    fclose(f);
    printf("%d known answers, %d wrong\n", done, failed);
    return failed || !done;
}
