/* The points at which the Toom-Cook transforms take a polynomial, for 3, 4 and 5 points per side; the last point is
 * infinity, where a polynomial's value is its last coefficient.  pack.c and generic.c compute with this table;
 * template.h has its sums written out, and check_kernels.c holds both directions of every table of kernels to it. */
#ifndef GAN_POINTS_H
#define GAN_POINTS_H

#include "kernels.h"

static const float TOOM_POINTS[MAX_TOOM - 2][MAX_TOOM - 1] = {{0, -1}, {0, 1, -1}, {0, 1, -0.5f, -2}};

/* Those of Winograd's F(4 x 4, 3 x 3), +-sqrt(1/2) and +-sqrt(2): of the usual ones these round least. */
static const double WINOGRAD_POINTS[WINOGRAD - 1] = {0, 0.70710678118654752, -0.70710678118654752, 1.41421356237309505,
                                                     -1.41421356237309505};

/* And those of F(4 x 4, 2 x 2), +-1/2 and +-3/2. */
static const double HALVED_POINTS[WINOGRAD_HALVED - 1] = {0.5, -0.5, 1.5, -1.5};

/* And those of F(2 x 2, 2 x 2). */
static const double SMALL_POINTS[WINOGRAD_SMALL - 1] = {0, 1};

#endif
