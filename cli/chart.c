/* chart.c -- the groups of a profile as a bar chart in SVG.
 *
 * A row for each group, slowest first: its nodes, a bar as long as its time, in which the part that its roof accounts
 * for is filled in the colour of what binds it. What is pale could go, if the code were perfect.
 */
#include "profile.h"

#include <errno.h>
#include <string.h>

enum { ROWS = 40, ROW = 20, TOP = 84, LEFT = 390, BAR = 440, RIGHT = 190, LETTERS = 54 };

static const struct bound {
  const char *name, *strong, *pale;
} bounds[] = {{"compute", "#3465a4", "#c6d5e8"}, {"L1", "#4e9a06", "#cfe5bc"},     {"L2", "#73a80d", "#d8e9bd"},
              {"L3", "#c4a000", "#efe5b5"},      {"memory", "#ce5c00", "#f3d3b7"}, {"", "#888a85", "#d9dad8"}};
enum { BOUNDS = sizeof bounds / sizeof *bounds };

static const struct bound *find_bound(const char *name) {
  int k = 0;
  while (k + 1 < BOUNDS && strcmp(bounds[k].name, name) != 0)
    k++;
  return &bounds[k];
}

/* At most `letters` characters of UTF-8 or of what is taken for it, with what XML reserves written out. */
static void put_text(FILE *file, const char *text, int letters) {
  for (int count = 0; *text; text++) {
    unsigned char c = (unsigned char)*text;
    bool begins = (c & 0xC0) != 0x80;
    if (begins && ++count > letters) {
      fputs("\xE2\x80\xA6", file); /* ... */
      return;
    }
    if (c == '&')
      fputs("&amp;", file);
    else if (c == '<')
      fputs("&lt;", file);
    else if (c == '>')
      fputs("&gt;", file);
    else if (c == '"')
      fputs("&quot;", file);
    else
      fputc(c < 32 || c > 126 ? (begins ? '?' : ' ') : c, file);
  }
}

static void put_bar(FILE *file, int y, double width, const char *colour) {
  fprintf(file, "<rect x=\"%d\" y=\"%d\" width=\"%.2f\" height=\"%d\" fill=\"%s\"/>\n", LEFT, y, width, ROW - 6,
          colour);
}

static void put_row(FILE *file, const cli_profile *p, const cli_group *g, int row) {
  const struct bound *bound = find_bound(g->roof.bound);
  double scale = (double)BAR / p->groups[0].seconds, share = cli_ratio(g->roof.seconds, g->seconds);
  int y = TOP + row * ROW;
  fprintf(file, "<g><title>");
  put_text(file, g->label, 400);
  fprintf(file, "</title><text x=\"%d\" y=\"%d\" text-anchor=\"end\">", LEFT - 8, y + 11);
  put_text(file, g->label, LETTERS);
  fprintf(file, "</text>\n");
  put_bar(file, y, scale * g->seconds, bound->pale);
  put_bar(file, y, scale * g->seconds * (share < 1 ? share : 1), bound->strong);
  fprintf(file, "<text x=\"%.2f\" y=\"%d\">%.3f ms, %.1f%%", (double)LEFT + scale * g->seconds + 6, y + 11,
          1e3 * g->seconds, 100 * cli_ratio(g->seconds, p->seconds));
  if (g->roof.seconds > 0)
    fprintf(file, "; roof %.0f%%", 100 * share);
  fprintf(file, "</text></g>\n");
}

static void put_head(FILE *file, const cli_profile *p, int height) {
  int width = LEFT + BAR + RIGHT, x = LEFT;
  fprintf(file,
          "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
          "font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
          "<text x=\"12\" y=\"24\" font-size=\"15\">",
          width, height, width, height);
  put_text(file, p->model ? p->model : "model", 100);
  fprintf(file, "</text>\n<text x=\"12\" y=\"44\">%.3f ms on %d thread%s, %.1f GFLOP/s of products", 1e3 * p->seconds,
          p->threads, p->threads == 1 ? "" : "s", 1e-9 * cli_ratio(p->flops, p->seconds));
  if (p->peak > 0)
    fprintf(file, ", %.1f%% of the f32 peak", 100 * cli_ratio(p->flops, p->seconds * p->peak));
  if (p->roofs > 0)
    fprintf(file, "; all roofs together %.1f%% of the time", 100 * cli_ratio(p->roofs, p->seconds));
  fprintf(file, "</text>\n<text x=\"12\" y=\"68\">filled: what the roof accounts for, bound by</text>\n");
  for (int k = 0; k + 1 < BOUNDS; k++, x += 84)
    fprintf(file, "<rect x=\"%d\" y=\"59\" width=\"11\" height=\"11\" fill=\"%s\"/><text x=\"%d\" y=\"68\">%s</text>\n",
            x, bounds[k].strong, x + 16, bounds[k].name);
}

int cli_write_chart(const cli_profile *profile, const char *path) {
  FILE *file = fopen(path, "wb");
  if (!file)
    return cli_fail(ONNXC_BAD_INPUT, "cannot write '%s': %s", path, strerror(errno));
  int rows = profile->count < ROWS ? profile->count : ROWS;
  double rest = 0;
  put_head(file, profile, TOP + (rows + 1) * ROW + 8);
  for (int k = 0; k < profile->count; k++)
    if (k < rows && profile->groups[k].seconds > 0)
      put_row(file, profile, &profile->groups[k], k);
    else
      rest += profile->groups[k].seconds;
  if (profile->count > rows)
    fprintf(file, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%d more groups: %.3f ms, %.1f%%</text>\n", LEFT - 8,
            TOP + rows * ROW + 11, profile->count - rows, 1e3 * rest, 100 * cli_ratio(rest, profile->seconds));
  fputs("</svg>\n", file);
  bool failed = ferror(file) != 0;
  failed |= fclose(file) != 0;
  return failed ? cli_fail(ONNXC_BAD_INPUT, "cannot write '%s': %s", path, strerror(errno)) : 0;
}
