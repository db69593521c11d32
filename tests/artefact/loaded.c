/* loaded.c -- check_model on a shared library: call_library LIBRARY PREFIX ... */
#include "check.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

/* POSIX allows the conversion from an object pointer, ISO C goes by way of memory. */
static int find(void *library, const char *prefix, const char *name, void *function) {
  char symbol[256];
  snprintf(symbol, sizeof symbol, "%s_%s", prefix, name);
  void *address = dlsym(library, symbol);
  memcpy(function, &address, sizeof address);
  if (!address)
    fprintf(stderr, "%s\n", dlerror());
  return address != NULL;
}

int main(int argc, char **argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: %s LIBRARY PREFIX [options] FOLDER\n", argv[0]);
    return 2;
  }
  void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  model_functions functions;
  if (!find(library, argv[2], "open", &functions.open) || !find(library, argv[2], "close", &functions.close) ||
      !find(library, argv[2], "describe", &functions.describe) || !find(library, argv[2], "plan", &functions.plan) ||
      !find(library, argv[2], "run", &functions.run))
    return 1;
  return check_model(&functions, argc - 3, argv + 3); /* the library stays loaded: OpenMP's threads know it */
}
