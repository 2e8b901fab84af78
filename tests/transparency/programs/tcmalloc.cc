// A C++ program linked with tcmalloc: malloc and operator new are ours in its place.
// flags: -pthread
// links: libtcmalloc_minimal.so.4*
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

static unsigned long churn(unsigned seed)
{
    std::map<std::string, std::vector<int>> table;
    unsigned long sum = seed;
    for (unsigned i = 0; i < 3000; i++) {
        auto &list = table["key " + std::to_string(i * seed % 97)];
        list.push_back(static_cast<int>(i));
        if (list.size() > 20)
            list = std::vector<int>(3, static_cast<int>(i));
        void *block = std::malloc(i % 300 + 1);
        std::memset(block, static_cast<int>(i), i % 300 + 1);
        std::unique_ptr<char[]> array(new char[i % 500 + 1]);
        array[i % 500] = static_cast<char *>(block)[i % 300];
        sum = sum * 31 + static_cast<unsigned long>(array[i % 500]) + list.size();
        block = std::realloc(block, i % 700 + 1);
        sum += static_cast<unsigned char *>(block)[0];
        std::free(block);
    }
    return sum;
}

int main()
{
    std::vector<std::thread> threads;
    unsigned long sums[4];
    for (unsigned i = 0; i < 4; i++)
        threads.emplace_back([i, &sums] { sums[i] = churn(i + 3); });
    for (auto &thread : threads)
        thread.join();
    for (auto sum : sums)
        std::printf("%lx\n", sum);
    return 0;
}
