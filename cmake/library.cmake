# libonnxc: the run-time's bitcode, the shared and the static library, what is installed.

# ---- the run-time as bitcode, embedded in the emitter ----
# Made without a CPU (the emitter sets one) and without unwinding tables; entry and main use libc.
enable_language(ASM)
set(bitcode_dir ${CMAKE_BINARY_DIR}/bitcode)
file(MAKE_DIRECTORY ${bitcode_dir})
set(bitcode_flags --target=x86_64-linux-gnu -std=gnu11 -O2 -fPIC -fno-builtin -fno-stack-protector
    -fno-asynchronous-unwind-tables -fvisibility=hidden -fno-ident -Wall -Wextra
    -I${CMAKE_SOURCE_DIR}/include -I${CMAKE_SOURCE_DIR}/lib)
file(GLOB runtime_headers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/lib/rt/*.h ${CMAKE_SOURCE_DIR}/lib/rt/artefact/*.h
     ${CMAKE_SOURCE_DIR}/include/onnxc/*.h)
set(bitcode_files)
foreach(source message plan run cpu rt_omp artefact/entry artefact/main)
  get_filename_component(name ${source} NAME)
  set(freestanding -ffreestanding)
  if(source MATCHES artefact)
    set(freestanding)
  endif()
  add_custom_command(
    OUTPUT ${bitcode_dir}/${name}.bc
    COMMAND ${CLANG} ${bitcode_flags} ${freestanding} -emit-llvm -c ${CMAKE_SOURCE_DIR}/lib/rt/${source}.c
            -o ${bitcode_dir}/${name}.bc
    DEPENDS ${CMAKE_SOURCE_DIR}/lib/rt/${source}.c ${runtime_headers}
    VERBATIM)
  list(APPEND bitcode_files ${bitcode_dir}/${name}.bc)
endforeach()
set(bitcode_source ${CMAKE_SOURCE_DIR}/lib/emit/bitcode.S)
set_source_files_properties(${bitcode_source} PROPERTIES OBJECT_DEPENDS "${bitcode_files};${runtime_headers}")
set_property(SOURCE ${bitcode_source} PROPERTY COMPILE_DEFINITIONS
  "ONNXC_BITCODE_MESSAGE=\"${bitcode_dir}/message.bc\"" "ONNXC_BITCODE_PLAN=\"${bitcode_dir}/plan.bc\""
  "ONNXC_BITCODE_RUN=\"${bitcode_dir}/run.bc\"" "ONNXC_BITCODE_CPU=\"${bitcode_dir}/cpu.bc\""
  "ONNXC_BITCODE_OMP=\"${bitcode_dir}/rt_omp.bc\"" "ONNXC_BITCODE_ENTRY=\"${bitcode_dir}/entry.bc\""
  "ONNXC_BITCODE_MAIN=\"${bitcode_dir}/main.bc\""
  "ONNXC_STATUS_H=\"${CMAKE_SOURCE_DIR}/include/onnxc/status.h\""
  "ONNXC_RUNTIME_H=\"${CMAKE_SOURCE_DIR}/include/onnxc/runtime.h\"")
target_sources(onnxc_emit PRIVATE ${bitcode_source})

# ---- what the cache of compiled programs knows this compiler by ----
file(GLOB_RECURSE onnxc_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/lib/* ${CMAKE_SOURCE_DIR}/onnx-frontend/*
     ${CMAKE_SOURCE_DIR}/include/*)
set(source_hash ${CMAKE_BINARY_DIR}/generated/source_hash.h)
add_custom_command(
  OUTPUT ${source_hash}
  COMMAND ${CMAKE_COMMAND} -DOUT=${source_hash} -DROOT=${CMAKE_SOURCE_DIR}
          -P ${CMAKE_SOURCE_DIR}/cmake/source_hash.cmake
  DEPENDS ${onnxc_sources} ${CMAKE_SOURCE_DIR}/cmake/source_hash.cmake
  VERBATIM)
target_sources(onnxc_emit PRIVATE ${source_hash})
target_include_directories(onnxc_emit PRIVATE ${CMAKE_BINARY_DIR}/generated)

# ---- the public library ----
onnxc_folder(api LINKS onnxc_emit onnxc_pass onnxc_onnx)
find_library(LIBOMP NAMES omp libomp.so.5 HINTS ${LLVM_LIBRARY_DIRS} ${LLVM_LIBRARY_DIR})
if(LIBOMP)
  target_compile_definitions(onnxc_api PRIVATE ONNXC_HAVE_OMP)
  target_link_libraries(onnxc_api PUBLIC ${LIBOMP})
else()
  message(STATUS "libomp is missing: programs compiled in memory use threads only through parallel_for")
endif()

set(onnxc_parts onnxc_api onnxc_emit onnxc_rt onnxc_codegen onnxc_nano onnxc_tile onnxc_pass onnxc_ops onnxc_target
    onnxc_onnx onnxc_ir onnxc_base)
set(onnxc_objects)
foreach(part ${onnxc_parts})
  list(APPEND onnxc_objects $<TARGET_OBJECTS:${part}>)
endforeach()
set(onnxc_needs LLVM PkgConfig::PROTOBUF_C m)
if(LIBOMP)
  list(APPEND onnxc_needs ${LIBOMP})
endif()

add_library(onnxc SHARED ${onnxc_objects})
set_target_properties(onnxc PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION 0 LINKER_LANGUAGE C)
target_include_directories(onnxc PUBLIC $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include>
                                        $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_libraries(onnxc PRIVATE ${onnxc_needs})
target_link_options(onnxc PRIVATE -Wl,--no-undefined)

# For those who also need what is inside: the command, the tests.
add_library(onnxc_static STATIC ${onnxc_objects})
set_target_properties(onnxc_static PROPERTIES OUTPUT_NAME onnxc LINKER_LANGUAGE C)
target_include_directories(onnxc_static PUBLIC ${CMAKE_SOURCE_DIR}/include)
target_link_libraries(onnxc_static PUBLIC ${onnxc_needs})

# ---- installation ----
include(CMakePackageConfigHelpers)
install(TARGETS onnxc EXPORT onnxcTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES $<TARGET_FILE:onnxc_static> DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${CMAKE_SOURCE_DIR}/include/onnxc DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
set(onnxc_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/onnxc)
install(EXPORT onnxcTargets NAMESPACE onnxc:: DESTINATION ${onnxc_cmake_dir})
configure_package_config_file(${CMAKE_SOURCE_DIR}/cmake/onnxcConfig.cmake.in ${CMAKE_BINARY_DIR}/onnxcConfig.cmake
                              INSTALL_DESTINATION ${onnxc_cmake_dir})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/onnxcConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/onnxcConfig.cmake ${CMAKE_BINARY_DIR}/onnxcConfigVersion.cmake
        DESTINATION ${onnxc_cmake_dir})
# Relative to the file, so that the installation can be moved.
file(RELATIVE_PATH onnxc_prefix_from_pc "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
string(REGEX REPLACE "/$" "" onnxc_prefix_from_pc "${onnxc_prefix_from_pc}")
configure_file(${CMAKE_SOURCE_DIR}/cmake/onnxc.pc.in ${CMAKE_BINARY_DIR}/onnxc.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/onnxc.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
