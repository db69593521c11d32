/* test_cache.c -- entries of the cache as files: what was stored is found, and what is not exactly that is not. */
#include "emit/cache.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/onnxc_cache_XXXXXX", directory[64];
static onnxc_guard guard;
static onnxc_arena arena;
static const onnxc_digest key = {{0x0123456789abcdef, 42}}, other_key = {{0x0123456789abcdef, 43}};
static const char object[] = "what would be machine code", other_object[] = "and some more";
static unsigned char first[400], second[28];

static void start(void) {
  cr_assert_not_null(mkdtemp(root));
  snprintf(directory, sizeof directory, "%s/a/b", root);
  onnxc_arena_init(&arena, &guard);
  for (int k = 0; k < 400; k++)
    first[k] = (unsigned char)(k * 7);
  second[27] = 6;
}

static void stop(void) {
  char command[64];
  snprintf(command, sizeof command, "rm -r %s", root);
  cr_expect_eq(system(command), 0); // NOLINT: the path is ours
  onnxc_arena_free(&arena);
}

static bool store(const char *path) {
  struct onnxc_weight_piece pieces[] = {{0, sizeof first, first}, {448, sizeof second, second}};
  const onnxc_weights weights = {448 + sizeof second, 2, pieces};
  const onnxc_cache_entry entry = {
      .objects = {2, {{.bytes = object, .size = sizeof object}, {.bytes = other_object, .size = sizeof other_object}}},
      .source_nodes = 5,
      .folded_nodes = 2};
  return onnxc_cache_store(&arena, path, &key, &entry, &weights);
}

static bool can_open(const char *path) {
  onnxc_cache_entry entry;
  bool found = onnxc_cache_open(&entry, path, &key);
  if (!found)
    cr_expect_null(entry.map);
  onnxc_cache_close(&entry);
  return found;
}

static int count_files(void) {
  int count = 0;
  DIR *files = opendir(directory);
  for (struct dirent *file; files && (file = readdir(files));)
    count += file->d_name[0] != '.';
  if (files)
    closedir(files);
  return count;
}

TestSuite(cache, .init = start, .fini = stop);

Test(cache, gives_back_what_was_stored) {
  const char *path = onnxc_cache_path(&arena, directory, &key);
  cr_expect_str_neq(path, onnxc_cache_path(&arena, directory, &other_key));
  cr_expect(!can_open(path));
  cr_assert(store(path)); /* makes the directories */
  struct stat about;
  cr_assert_eq(stat(directory, &about), 0);
  cr_expect_eq(about.st_mode & 0777, 0700);
  cr_assert_eq(stat(path, &about), 0);
  cr_expect_eq(about.st_mode & 0777, 0600);
  onnxc_cache_entry entry, none;
  cr_assert(onnxc_cache_open(&entry, path, &key));
  cr_expect(!onnxc_cache_open(&none, path, &other_key));
  /* Replaced and removed while it is in use. */
  cr_expect(store(path));
  cr_expect_eq(count_files(), 1);
  cr_expect_eq(unlink(path), 0);
  const unsigned char *weights = entry.weights;
  const onnxc_object *objects = entry.objects.list;
  cr_assert_eq(entry.objects.count, 2);
  cr_expect(objects[0].size == sizeof object && memcmp(objects[0].bytes, object, sizeof object) == 0);
  cr_expect(objects[1].size == sizeof other_object && memcmp(objects[1].bytes, other_object, sizeof other_object) == 0);
  cr_expect(entry.weights_size == 448 + sizeof second && (uintptr_t)weights % 4096 == 0);
  for (size_t k = 0; k < 448; k++)
    cr_expect_eq(weights[k], k < sizeof first ? first[k] : 0);
  cr_expect_eq(memcmp(weights + 448, second, sizeof second), 0);
  cr_expect(entry.source_nodes == 5 && entry.folded_nodes == 2);
  onnxc_cache_close(&entry);
}

/* A model without weights. */
Test(cache, takes_empty_weights) {
  const char *path = onnxc_cache_path(&arena, directory, &key);
  const onnxc_cache_entry entry = {.objects = {1, {{.bytes = object, .size = sizeof object}}}};
  const onnxc_weights weights = {0};
  cr_assert(onnxc_cache_store(&arena, path, &key, &entry, &weights));
  cr_expect(can_open(path));
}

/* One bit in each byte; every length. */
Test(cache, finds_all_damage) {
  const char *path = onnxc_cache_path(&arena, directory, &key);
  cr_assert(store(path));
  int fd = open(path, O_RDWR);
  cr_assert_geq(fd, 0);
  off_t size = lseek(fd, 0, SEEK_END);
  cr_assert(size > 4096 && size < 8192);
  for (off_t at = 0; at < size; at++) {
    unsigned char byte, damaged;
    cr_assert_eq(pread(fd, &byte, 1, at), 1);
    damaged = byte ^ (unsigned char)(1 << at % 8);
    cr_assert_eq(pwrite(fd, &damaged, 1, at), 1);
    cr_expect(!can_open(path), "byte %d", (int)at);
    cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
  }
  cr_expect(can_open(path));
  cr_assert_eq(pwrite(fd, "", 1, size), 1);
  cr_expect(!can_open(path), "a byte more");
  for (off_t length = size; length-- > 0;) {
    cr_assert_eq(ftruncate(fd, length), 0);
    cr_expect(!can_open(path), "%d bytes", (int)length);
  }
  close(fd);
  cr_expect(store(path) && can_open(path)); /* replaced */
}

/* What others could have put there. */
Test(cache, trusts_only_plain_files_of_ours) {
  const char *path = onnxc_cache_path(&arena, directory, &key);
  char moved[80];
  cr_assert(store(path));
  for (unsigned mode = 0; mode < 0200; mode++) {
    cr_assert_eq(chmod(path, 0600 | mode), 0);
    cr_expect_eq(can_open(path), !(mode & 022), "mode %o", 0600 | mode);
  }
  cr_assert_eq(chmod(path, 0600), 0);
  snprintf(moved, sizeof moved, "%s/moved", directory);
  cr_assert_eq(rename(path, moved), 0);
  cr_assert_eq(symlink(moved, path), 0);
  cr_expect(!can_open(path));
  cr_assert_eq(unlink(path), 0);
  cr_assert_eq(mkfifo(path, 0600), 0);
  cr_expect(!can_open(path));
  cr_expect(store(path) && can_open(path)); /* instead of the pipe */
  cr_assert_eq(unlink(path), 0);
  cr_assert_eq(mkdir(path, 0700), 0);
  cr_expect(!can_open(path));
  cr_expect(!store(path));
  cr_expect_eq(count_files(), 2, "a temporary file was left");
}

Test(cache, says_when_it_cannot_write) {
  char file[64], below[128];
  snprintf(file, sizeof file, "%s/file", root);
  close(open(file, O_CREAT | O_WRONLY, 0600));
  snprintf(below, sizeof below, "%s/a", file);
  cr_expect(!store(onnxc_cache_path(&arena, below, &key)));
  cr_expect(!store(onnxc_cache_path(&arena, "/proc/none", &key)));
}
