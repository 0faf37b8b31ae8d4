
/* A rectangle of pixels in memory: pixel (i, j) begins at `at + i * row + j * step`. */
typedef struct source { const float *at; int row, step; } source;
typedef struct target { float *at; int row, step; } target;

/* y(i, j)[n] += the sum over k < depth of x(i, j)[k] * w[k][n], for i < rows, j < columns, n < count <= PANEL. */
static void product(source x, const @weight@ *w,@scale_parameter@ int depth, target y, int count, int rows, int columns)
{
    const int pixels = rows * columns;
    for (int k = 0; k < depth; k += SLICE) {
        const int some = depth - k < SLICE ? depth - k : SLICE;
@slice@
        int row = 0, column = 0;
        for (int left = pixels, tiles = (pixels + TALLEST - 1) / TALLEST; tiles > 0; tiles--) {
            const int height = (left + tiles - 1) / tiles; /* tiles as equal as can be */
            const float *from[TALLEST];
            float *to[TALLEST], *place[TALLEST], edge[TALLEST][PANEL];
            for (int i = 0; i < height; i++) {
                from[i] = x.at + row * x.row + column * x.step + k;
                to[i] = place[i] = y.at + row * y.row + column * y.step;
                if (++column == columns) {
                    column = 0;
                    row++;
                }
            }
            left -= height;
            if (count == PANEL) {
                tile(height, from, @weights@, some, to);
                continue;
            }
            for (int i = 0; i < height; i++) { /* a panel that is partly filled: beside, and what counts is added */
                to[i] = edge[i];
                for (int n = 0; n < PANEL; n++) edge[i][n] = 0;
            }
            tile(height, from, @weights@, some, to);
            for (int i = 0; i < height; i++)
                for (int n = 0; n < count; n++) place[i][n] += edge[i][n];
        }
    }
}
