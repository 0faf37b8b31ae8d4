
/* A polynomial by Horner's rule, highest power first.  The law rounds every operation on its own; `volatile` keeps
 * a compiler from fusing a product and a sum, whatever its flags. */
static double polynomial(double x, const double *a, int n)
{
    double value = a[0];
    for (int i = 1; i < n; i++) {
        const volatile double product = value * x;
        value = product + a[i];
    }
    return value;
}

/* -log(p) for p in (0, 1): p = m / 2^k with m in [1, 2), and log m = 2 artanh((m - 1) / (m + 1)). */
static double minus_log(double p)
{
    static const double odd[18] = {1.0 / 35, 1.0 / 33, 1.0 / 31, 1.0 / 29, 1.0 / 27, 1.0 / 25, 1.0 / 23, 1.0 / 21, 1.0 / 19,
                                   1.0 / 17, 1.0 / 15, 1.0 / 13, 1.0 / 11, 1.0 / 9,  1.0 / 7,  1.0 / 5,  1.0 / 3,  1.0};
    double m = p, k = 0.0;
    while (m < 1.0) {
        m *= 2.0;
        k += 1.0;
    }
    {
        const double s = (m - 1.0) / (m + 1.0);
        const volatile double square = s * s, whole = k * 0.6931471805599453;
        const volatile double rest = 2.0 * s * polynomial(square, odd, 18);
        return whole - rest;
    }
}

/* The inverse normal distribution function at (u + 0.5) / 65536, u < 65536 (Wichura's AS 241, 1988). */
static float normal(uint32_t u)
{
    static const double middle_over[8] = {2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4,
                                          4.5921953931549871457e4, 1.3731693765509461125e4, 1.9715909503065514427e3,
                                          1.3314166789178437745e2, 3.3871328727963666080e0};
    static const double middle_under[8] = {5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4,
                                           2.1213794301586595867e4, 5.3941960214247511077e3, 6.8718700749205790830e2,
                                           4.2313330701600911252e1, 1.0};
    static const double tail_over[8] = {7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1,
                                        1.27045825245236838258e0,  3.64784832476320460504e0,  5.76949722146069140550e0,
                                        4.63033784615654529590e0,  1.42343711074968357734e0};
    static const double tail_under[8] = {1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2,
                                         1.48103976427480074590e-1, 6.89767334985100004550e-1, 1.67638483018380384940e0,
                                         2.05319162663775882187e0,  1.0};
    const double p = ((u < 32768 ? u : 65535 - u) + 0.5) / 65536.0, q = 0.5 - p; /* odd: the lower half is enough */
    float x;
    if (q <= 0.425) {
        const volatile double square = q * q;
        const double r = 0.180625 - square;
        x = (float)(q * (polynomial(r, middle_over, 8) / polynomial(r, middle_under, 8)));
    } else {
        const double t = sqrt(minus_log(p)) - 1.6;
        x = (float)(polynomial(t, tail_over, 8) / polynomial(t, tail_under, 8));
    }
    return u < 32768 ? -x : x;
}
