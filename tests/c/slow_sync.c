// Makes one synced write slow: preloaded into a server, it lets the next synced write after the file named by SLOW_SYNC has
// appeared take as many milliseconds as the file says. With a second number in it only a write below that byte is meant. The file
// goes when the write begins, and "<file>.over" comes when the pause is over.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef RWF_DSYNC
#define RWF_DSYNC 2
#endif

ssize_t pwritev2(int fd, const struct iovec *vectors, int count_of, off_t offset, int flags) {
  static ssize_t (*real)(int, const struct iovec *, int, off_t, int);
  if (real == NULL) real = (ssize_t (*)(int, const struct iovec *, int, off_t, int))dlsym(RTLD_NEXT, "pwritev2");
  const char *name = getenv("SLOW_SYNC");
  FILE *file = name != NULL && (flags & RWF_DSYNC) ? fopen(name, "r") : NULL;
  if (file != NULL) {
    long ms = 0, below = 0;
    const int count = fscanf(file, "%ld %ld", &ms, &below);
    fclose(file);
    if (count < 1) ms = 0;
    if (count == 2 && offset >= below) return real(fd, vectors, count_of, offset, flags);
    unlink(name);
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0) {
    }
    char over[4096];
    snprintf(over, sizeof over, "%s.over", name);
    file = fopen(over, "w");
    if (file != NULL) fclose(file);
  }
  return real(fd, vectors, count_of, offset, flags);
}
