# cmake -DOUT=FILE -DROOT=DIRECTORY -P source_hash.cmake: writes a header with a hash of the sources of the compiler,
# by which caches of compiled programs tell one state of it from another.
file(GLOB_RECURSE sources RELATIVE ${ROOT} ${ROOT}/lib/* ${ROOT}/onnx-frontend/* ${ROOT}/include/*)
list(SORT sources)
set(hashes)
foreach(source ${sources})
  file(SHA256 ${ROOT}/${source} hash)
  string(APPEND hashes "${source} ${hash}\n")
endforeach()
string(SHA256 hash "${hashes}")
file(WRITE ${OUT} "#define ONNXC_SOURCE_HASH \"${hash}\"\n")
