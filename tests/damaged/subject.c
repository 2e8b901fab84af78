/* The program whose file gets damaged or replaced: work in several functions, then a line of input, then perhaps a fault. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct node {
    struct node *left, *right;
    unsigned key;
};

__attribute__((noinline)) static struct node *insert(struct node *tree, unsigned key)
{
    if (!tree) {
        tree = calloc(1, sizeof *tree);
        tree->key = key;
    } else if (key < tree->key) {
        tree->left = insert(tree->left, key);
    } else {
        tree->right = insert(tree->right, key);
    }
    return tree;
}

__attribute__((noinline)) static unsigned long sum(const struct node *tree, unsigned depth)
{
    return tree ? tree->key * depth + sum(tree->left, depth + 1) + sum(tree->right, depth + 1) : 0;
}

__attribute__((noinline)) static unsigned choose(unsigned n)
{
    switch (n % 8) {
    case 0:
        return n + 1;
    case 1:
        return n * 3;
    case 2:
        return n ^ 0x55;
    case 3:
        return n >> 2;
    case 4:
        return ~n;
    case 5:
        return n / 7;
    default:
        return n - 9;
    }
}

__attribute__((noinline)) void write_behind(volatile char *block, size_t bytes)
{
    block[bytes] = 1;
}

int main(int argc, char **argv)
{
    struct node *tree = NULL;
    unsigned key = 12345;
    char line[100];
    for (int i = 0; i < 2000; i++)
        tree = insert(tree, key = choose(key) * 1103515245u + 12345u);
    printf("%lu\n", sum(tree, 1));
    fflush(stdout);
    if (argc > 1 && fgets(line, sizeof line, stdin)) {
        char *block = malloc(40);
        strcpy(block, "unchanged");
        if (strcmp(argv[1], "fault") == 0)
            write_behind(block, 40);
        printf("%s %s", block, line);
    }
    return 5;
}
