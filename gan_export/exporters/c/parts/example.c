/* Writes one @kind@ to a PNM file: the smallest program that uses @symbol@.c.
 *
 *   @compile@
 *   ./example @arguments@
 */
#include <stdio.h>
#include <stdlib.h>

#include "@symbol@.h"

static float workspace[GENERATOR_WORKSPACE];
static unsigned char picture[@numbers@];
@storage@
int main(int argc, char **argv)
{
    float z[GENERATOR_LATENT];
    const int given = @given@; /* arguments before the seed */
    const uint64_t seed = argc > given ? (uint64_t)strtoull(argv[given], NULL, 10) : 0;
    const uint64_t index = argc > given + 1 ? (uint64_t)strtoull(argv[given + 1], NULL, 10) : 0;
@label@    FILE *file;

    if (argc < given) {
        fprintf(stderr, "usage: %s @arguments@\n", argv[0]);
        return 2;
    }
@read@
    generator_latent(seed, index, z);
    generator_bytes(@weights@, z, @pass@workspace, picture);

    file = fopen(argv[given - 1], "wb");
    if (file == NULL) {
        fprintf(stderr, "%s can't be written\n", argv[given - 1]);
        return 1;
    }
    fprintf(file, "@pnm@", @width@, @rows@);
@write@
    if (fclose(file) != 0) {
        fprintf(stderr, "%s can't be written\n", argv[given - 1]);
        return 1;
    }
    return 0;
}
