/* Reads one image from a PNM file, and writes the result to another: the smallest program that uses @symbol@.c.
 *
 *   @compile@
 *   ./example @arguments@
 */
#include <stdio.h>
@included@
#include "@symbol@.h"

static float workspace[GENERATOR_WORKSPACE];
static unsigned char before[GENERATOR_INPUT_HEIGHT * GENERATOR_INPUT_WIDTH * GENERATOR_INPUT_CHANNELS];
static unsigned char after[GENERATOR_HEIGHT * GENERATOR_WIDTH * GENERATOR_CHANNELS];
@numbers@@storage@
int main(int argc, char **argv)
{
    const int given = @given@; /* the argument that names the image */
    int kind = 0, width = 0, height = 0, most = 0;
    FILE *file;

    if (@more@) {
        fprintf(stderr, "usage: %s @arguments@\n", argv[0]);
        return 2;
    }
@read@
    file = fopen(argv[given], "rb");
    if (file == NULL || fscanf(file, "P%d %d %d %d", &kind, &width, &height, &most) != 4 || kind != @kind@ ||
        width != @rows@ || height != GENERATOR_INPUT_HEIGHT || most != 255 ||
        fgetc(file) == EOF || fread(before, 1, sizeof before, file) != sizeof before) {
        fprintf(stderr, "%s is not a P@kind@ of %d x %d pixels\n", argv[given], @rows@, GENERATOR_INPUT_HEIGHT);
        return 1;
    }
    fclose(file);
@draw@    generator_bytes(@weights@, before, @dropout@workspace, after);

    file = fopen(argv[given + 1], "wb");
    if (file == NULL) {
        fprintf(stderr, "%s can't be written\n", argv[given + 1]);
        return 1;
    }
    fprintf(file, "P@result@\n%d %d\n255\n", @columns@, GENERATOR_HEIGHT);
    fwrite(after, 1, sizeof after, file);
    if (fclose(file) != 0) {
        fprintf(stderr, "%s can't be written\n", argv[given + 1]);
        return 1;
    }
    return 0;
}
