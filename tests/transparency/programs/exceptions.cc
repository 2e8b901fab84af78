// Exceptions through supervised frames: destructors, rethrow, foreign callbacks, threads, the standard
// library. flags: -pthread
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

static int destroyed;

struct Guard {
    int weight;
    explicit Guard(int w) : weight(w) {}
    ~Guard() { destroyed += weight; }
};

struct Base {
    virtual ~Base() = default;
    virtual int value() const { return 1; }
};
struct Derived : Base {
    int value() const override { return 2; }
};

__attribute__((noinline)) static int dive(int depth, int kind)
{
    Guard guard(depth);
    if (depth == 0) {
        switch (kind % 4) {
        case 0:
            throw kind;
        case 1:
            throw std::runtime_error("runtime " + std::to_string(kind));
        case 2:
            return std::vector<int>(3).at(7);
        default:
            return kind;
        }
    }
    try {
        return dive(depth - 1, kind) + 1;
    } catch (const std::out_of_range &) {
        if (depth % 2)
            throw;
        throw std::logic_error("turned at " + std::to_string(depth));
    }
}

static int compare(const void *a, const void *b)
{
    static int calls;
    if (++calls % 40 == 0)
        throw calls;
    return *static_cast<const int *>(a) - *static_cast<const int *>(b);
}

int main()
{
    long sum = 0;
    std::map<std::string, int> seen;
    for (int round = 0; round < 200; round++) {
        try {
            sum += dive(round % 9, round);
        } catch (int number) {
            sum += number * 3;
            seen["int"]++;
        } catch (const std::exception &error) {
            seen[error.what()]++;
        }
    }
    std::printf("%ld %d %zu\n", sum, destroyed, seen.size());
    for (const auto &[name, count] : seen)
        sum = sum * 31 + static_cast<long>(name.size()) * count;
    int thrown = 0;
    for (int round = 0; round < 10; round++) {
        std::vector<int> numbers(30);
        for (int i = 0; i < 30; i++)
            numbers[static_cast<size_t>(i)] = i * 7 % 30;
        try {
            std::qsort(numbers.data(), numbers.size(), sizeof(int), compare);
        } catch (int) {
            thrown++;
        }
        std::sort(numbers.begin(), numbers.end(), [](int a, int b) { return a > b; });
        sum += numbers.front();
    }
    std::exception_ptr carried;
    std::thread thread([&] {
        try {
            dive(5, 1);
        } catch (...) {
            carried = std::current_exception();
        }
    });
    thread.join();
    try {
        std::rethrow_exception(carried);
    } catch (const std::runtime_error &error) {
        std::puts(error.what());
    }
    std::unique_ptr<Base> base = std::make_unique<Derived>();
    auto shared = std::make_shared<std::string>("shared");
    try {
        Base plain;
        sum += dynamic_cast<Derived &>(plain).value();
    } catch (const std::bad_cast &) {
        sum += dynamic_cast<Derived &>(*base).value();
    }
    std::printf("%ld thrown %s %ld %s\n", sum, thrown > 0 ? "some" : "none", shared.use_count(),
                shared->c_str());
    return 3;
}
