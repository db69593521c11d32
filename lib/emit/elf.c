/* elf.c -- the weights as an ELF64 object, written straight to a file.
 *
 * They never pass through LLVM, which would hold several copies and take minutes. One section of data,
 * one hidden symbol at its start:
 *
 *     ELF header | weights | symbols | their names | section names | section headers
 *
 * From 1 GiB on the section is .lrodata, which linkers put behind everything that code reaches by 32-bit offsets. */
#include "emit/artefact.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#ifndef SHF_X86_64_LARGE
#define SHF_X86_64_LARGE (1 << 28)
#endif

enum { SECTION_NULL, SECTION_DATA, SECTION_STACK, SECTION_SYMBOLS, SECTION_STRINGS, SECTION_NAMES, NUM_SECTIONS };
enum { NAME_DATA = 1, NAME_LARGE = 9, NAME_STACK = 18, NAME_SYMBOLS = 34, NAME_STRINGS = 42, NAME_NAMES = 50 };
static const char section_names[] = "\0.rodata\0.lrodata\0.note.GNU-stack\0.symtab\0.strtab\0.shstrtab";
enum { DATA_ALIGN = 64, LARGE_FROM = 1 << 30 };

static bool pad(FILE *file, uint64_t *at, uint64_t align) {
  static const char zeros[DATA_ALIGN];
  uint64_t gap = (align - *at % align) % align;
  *at += gap;
  return fwrite(zeros, 1, (size_t)gap, file) == gap;
}

static bool put(FILE *file, uint64_t *at, const void *data, size_t size) {
  *at += size;
  return fwrite(data, 1, size, file) == size;
}

static bool write_object(FILE *file, const char *symbol, const onnxc_weights *weights) {
  size_t symbol_size = strlen(symbol) + 1;
  bool large = weights->size >= LARGE_FROM;
  Elf64_Shdr sections[NUM_SECTIONS] = {0};
  uint64_t at = DATA_ALIGN; /* the header's 64 bytes */
  sections[SECTION_DATA] = (Elf64_Shdr){.sh_name = large ? NAME_LARGE : NAME_DATA,
                                        .sh_type = SHT_PROGBITS,
                                        .sh_flags = SHF_ALLOC | (large ? (Elf64_Xword)SHF_X86_64_LARGE : 0),
                                        .sh_offset = at,
                                        .sh_size = weights->size,
                                        .sh_addralign = DATA_ALIGN};
  at += weights->size;
  sections[SECTION_STACK] =
      (Elf64_Shdr){.sh_name = NAME_STACK, .sh_type = SHT_PROGBITS, .sh_offset = at, .sh_addralign = 1};
  const Elf64_Sym symbols[2] = {{0},
                                {.st_name = 1,
                                 .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT),
                                 .st_other = STV_HIDDEN,
                                 .st_shndx = SECTION_DATA,
                                 .st_size = weights->size}};
  uint64_t symbols_at = (at + 7) / 8 * 8;
  sections[SECTION_SYMBOLS] = (Elf64_Shdr){.sh_name = NAME_SYMBOLS,
                                           .sh_type = SHT_SYMTAB,
                                           .sh_offset = symbols_at,
                                           .sh_size = sizeof symbols,
                                           .sh_link = SECTION_STRINGS,
                                           .sh_info = 1, /* first global symbol */
                                           .sh_addralign = 8,
                                           .sh_entsize = sizeof *symbols};
  sections[SECTION_STRINGS] = (Elf64_Shdr){.sh_name = NAME_STRINGS,
                                           .sh_type = SHT_STRTAB,
                                           .sh_offset = symbols_at + sizeof symbols,
                                           .sh_size = symbol_size + 1,
                                           .sh_addralign = 1};
  sections[SECTION_NAMES] = (Elf64_Shdr){.sh_name = NAME_NAMES,
                                         .sh_type = SHT_STRTAB,
                                         .sh_offset = symbols_at + sizeof symbols + symbol_size + 1,
                                         .sh_size = sizeof section_names,
                                         .sh_addralign = 1};
  uint64_t headers_at = sections[SECTION_NAMES].sh_offset + sizeof section_names;
  headers_at = (headers_at + 7) / 8 * 8;
  const Elf64_Ehdr header = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                             .e_type = ET_REL,
                             .e_machine = EM_X86_64,
                             .e_version = EV_CURRENT,
                             .e_shoff = headers_at,
                             .e_ehsize = sizeof header,
                             .e_shentsize = sizeof *sections,
                             .e_shnum = NUM_SECTIONS,
                             .e_shstrndx = SECTION_NAMES};
  uint64_t written = 0;
  if (!put(file, &written, &header, sizeof header) || !onnxc_write_weights(file, weights))
    return false;
  written += weights->size;
  return pad(file, &written, 8) && put(file, &written, symbols, sizeof symbols) && put(file, &written, "", 1) &&
         put(file, &written, symbol, symbol_size) && put(file, &written, section_names, sizeof section_names) &&
         pad(file, &written, 8) && put(file, &written, sections, sizeof sections);
}

onnxc_status onnxc_write_weights_object(onnxc_diag *diag, const char *path, const char *symbol,
                                        const onnxc_weights *weights) {
  FILE *file = fopen(path, "wb");
  bool written = file && write_object(file, symbol, weights);
  bool closed = file && fclose(file) == 0;
  if (written && closed)
    return ONNXC_OK;
  return onnxc_error(diag, ONNXC_BAD_INPUT, "cannot write '%s': %s", path, strerror(errno));
}
