/* test_target.c -- the tables are consistent, and the host finds its row. */
#include "target/target.h"

#include <criterion/criterion.h>
#include <string.h>

Test(target, names_are_unique_and_found) {
  uint32_t count;
  const onnxc_target *rows = onnxc_target_rows(&count);
  cr_assert_gt(count, 10);
  for (uint32_t k = 0; k < count; k++)
    cr_expect_eq(onnxc_target_find(rows[k].name, strlen(rows[k].name)), &rows[k], "%s", rows[k].name);
  cr_expect_null(onnxc_target_find("z80", 3));
}

Test(target, every_row_has_a_float_tile) {
  uint32_t count;
  const onnxc_target *rows = onnxc_target_rows(&count);
  for (uint32_t k = 0; k < count; k++) {
    const onnxc_tile_row *tile = onnxc_tile_row_for(&rows[k], ONNXC_F32, ONNXC_F32);
    cr_assert_not_null(tile, "%s", rows[k].name);
    bool wide = rows[k].vector_bytes == 64;
    cr_expect_eq(tile->features, wide ? ONNXC_FEATURE_AVX512 : ONNXC_FEATURE_AVX2, "%s", rows[k].name);
  }
}

Test(target, host_runs_its_own_row) {
  const onnxc_target *host = onnxc_target_host();
  if (!host)
    cr_skip_test("no AVX2 on this host");
  cr_expect(onnxc_target_runs_on_host(host));
  cr_expect_eq(onnxc_target_lanes(host, 4), host->vector_bytes / 4);
}
