# Language level, warnings, sanitizers, compiler cache.
option(ZOOD_BUILD_TESTS "Build the test suite" ${PROJECT_IS_TOP_LEVEL})
option(ZOOD_BUILD_BENCHMARKS "Build bench/" ${PROJECT_IS_TOP_LEVEL})
option(ZOOD_BUILD_RPC "Build the daemon and its client, which need gRPC" ON)
option(ZOOD_WARNINGS_AS_ERRORS "Treat warnings as errors" OFF)
option(ZOOD_LIBFUZZER "Link the fuzz targets with libFuzzer instead of the corpus replayer" OFF)
set(ZOOD_SANITIZE "" CACHE STRING "Sanitizers to build with, for example address,undefined or thread")

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
# Installed programs find libraries where the build found them, such as oneDNN in its prefix.
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
# Release keeps line tables: a crash report without line numbers helps nobody.
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG -g1")
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1")  # of the sanitizers, with assertions

find_program(ZOOD_CCACHE ccache)
if(ZOOD_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Objects do not depend on where the checkout lies, so that every clone shares the cache.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${PROJECT_SOURCE_DIR}
    CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
    ${ZOOD_CCACHE})
endif()
find_program(ZOOD_MOLD mold)
if(ZOOD_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

# Bit-exact arithmetic: a multiplication and an addition stay two roundings unless code asks for a
# fused one.
add_compile_options(-ffp-contract=off)

if(ZOOD_SANITIZE)
  add_compile_options(-fsanitize=${ZOOD_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${ZOOD_SANITIZE})
endif()
if(ZOOD_LIBFUZZER)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
