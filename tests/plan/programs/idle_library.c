/* A library of which a program runs the startup code only. */
long unused(long n);

long unused(long n)
{
    return n * 3 + 1;
}
