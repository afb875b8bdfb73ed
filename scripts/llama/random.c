// Random numbers for the C++ library that is linked into a portable build, in place of a function of glibc 2.36.
#include <stdint.h>
#include <sys/random.h>

uint32_t arc4random(void) {
    uint32_t number;
    while (getrandom(&number, sizeof number, 0) != sizeof number) {
    }
    return number;
}
