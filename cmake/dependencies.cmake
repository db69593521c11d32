# What the project links: LLVM through its C API, protobuf-c, Criterion (tests); of xxHash it takes the header.

# Debian's version file refuses ranges and a bare major, so ask one by one.
foreach(version 19.1 20.1 21.1 22.1)
  find_package(LLVM ${version} QUIET CONFIG PATHS /usr/lib/llvm-19 /usr/lib/llvm-20 /usr/lib/llvm-21)
  if(LLVM_FOUND)
    break()
  endif()
endforeach()
if(NOT LLVM_FOUND)
  message(FATAL_ERROR "LLVM 19 or newer is missing: run scripts/install-dependencies")
endif()
message(STATUS "LLVM ${LLVM_PACKAGE_VERSION} in ${LLVM_DIR}")
add_library(onnxc_llvm INTERFACE)
target_include_directories(onnxc_llvm SYSTEM INTERFACE ${LLVM_INCLUDE_DIRS})
target_link_libraries(onnxc_llvm INTERFACE LLVM)

find_package(PkgConfig REQUIRED)
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c)
find_path(XXHASH_INCLUDE_DIR xxhash.h REQUIRED)
find_program(PROTOC_C NAMES protoc-c REQUIRED)
find_program(CLANG NAMES clang-${LLVM_VERSION_MAJOR} HINTS ${LLVM_TOOLS_BINARY_DIR})
