// A program with operators of its own for single objects only: arrays come from these too, and go back to them.
#include <cstdio>
#include <cstdlib>
#include <new>

static int taken, given;
static char pool[1 << 16];
static std::size_t used;

void *operator new(std::size_t bytes)
{
    void *p = pool + used;
    taken++;
    used += (bytes + 15) & ~std::size_t{15};
    return p;
}

void operator delete(void *) noexcept
{
    given++;
}

void operator delete(void *, std::size_t) noexcept
{
    given++;
}

int main()
{
    int *volatile one = new int(5);
    int *volatile many = new int[100];
    bool inside = (char *)many >= pool && (char *)many < pool + sizeof pool;
    delete one;
    delete[] many;
    std::printf("%d taken, %d given back, %s\n", taken, given, inside ? "inside" : "outside");
    return 0;
}
