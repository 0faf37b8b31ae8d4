
/* u < 65536 to the middle of its 65,536th part of (-1, 1). */
static float uniform(uint32_t u)
{
    return (float)((u + 0.5) / 32768.0 - 1.0);
}
