# zood_library(<room> SOURCES ... [DEPS ...] [PRIVATE_DEPS ...])
#   The library of a room: target zood_<room>, alias zood::<room>, exported by find_package(zood).
#   A public header is named like the source beside it and is included as "<room>/<header>.h".
function(zood_library room)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  add_library(zood_${room} STATIC ${ARG_SOURCES})
  add_library(zood::${room} ALIAS zood_${room})
  set_target_properties(zood_${room} PROPERTIES EXPORT_NAME ${room})
  target_include_directories(zood_${room} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/zood>)
  target_compile_features(zood_${room} PUBLIC cxx_std_20)
  target_link_libraries(zood_${room} PUBLIC ${ARG_DEPS} PRIVATE ${ARG_PRIVATE_DEPS})
  zood_warnings(zood_${room})
  set_property(GLOBAL APPEND PROPERTY ZOOD_ROOMS ${room})
endfunction()

# zood_part(<room>/<part> SOURCES ... [DEPS ...] [OPTIONS ...])
#   A folder of a room: an object library, zood_<room>_<part>, whose objects are in the room's library.
#   Call it from the part's own CMakeLists.txt, which the room's adds after zood_library(). The part
#   compiles against what the room's library links, and DEPS.
function(zood_part path)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;OPTIONS" ${ARGN})
  string(REPLACE "/" ";" folders ${path})
  list(GET folders 0 room)
  string(REPLACE "/" "_" part zood_${path})
  add_library(${part} OBJECT ${ARG_SOURCES})
  target_include_directories(${part} PUBLIC ${PROJECT_SOURCE_DIR})
  target_include_directories(${part} SYSTEM PRIVATE
    $<TARGET_PROPERTY:zood_${room},INTERFACE_INCLUDE_DIRECTORIES>)
  target_link_libraries(${part} PRIVATE $<TARGET_PROPERTY:zood_${room},LINK_LIBRARIES> ${ARG_DEPS})
  target_compile_options(${part} PRIVATE ${ARG_OPTIONS})
  zood_warnings(${part})
  target_sources(zood_${room} PRIVATE $<TARGET_OBJECTS:${part}>)
endfunction()

function(zood_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor
    -Wno-missing-field-initializers  # designated initializers name what they set; the rest is the default
    $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety -Wno-missing-designated-field-initializers>
    $<$<BOOL:${ZOOD_WARNINGS_AS_ERRORS}>:-Werror>)
endfunction()

# zood_test(<name> SOURCES ... [DEPS ...] [LABELS ...] [TIMEOUT seconds] [ENVIRONMENT ...])
#   A GoogleTest binary, registered with ctest as one test. Test data is found under ZOOD_TEST_DATA.
function(zood_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPS;LABELS;ENVIRONMENT" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} GTest::gtest GTest::gmock GTest::gtest_main)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_definitions(${name} PRIVATE
    ZOOD_TEST_DATA="${PROJECT_SOURCE_DIR}/tests/data" ZOOD_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
    ZOOD_BINARY_DIR="${PROJECT_BINARY_DIR}")
  zood_warnings(${name})
  add_test(NAME ${name} COMMAND ${name})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  if(ZOOD_SANITIZE)
    math(EXPR ARG_TIMEOUT "4 * ${ARG_TIMEOUT}")
  endif()
  if(ZOOD_SANITIZE MATCHES address)
    list(APPEND ARG_ENVIRONMENT
         LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/support/leaks.supp)
  elseif(ZOOD_SANITIZE MATCHES thread)
    list(APPEND ARG_ENVIRONMENT
         TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/support/races.supp)
  endif()
  # A short spin at OpenMP barriers: with the default one, tests that share the machine wait for
  # each other's threads through whole time slices (docs/architecture.md, "Threads").
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}"
    ENVIRONMENT "GOMP_SPINCOUNT=5000;${ARG_ENVIRONMENT}")
endfunction()

# zood_fuzz_target(<name> SOURCES ... [DEPS ...] CORPUS <directory>)
#   A libFuzzer target. In every other build it is linked with a main that replays the corpus, and
#   that replay is a test.
function(zood_fuzz_target name)
  cmake_parse_arguments(ARG "" "CORPUS" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  zood_warnings(${name})
  if(ZOOD_LIBFUZZER)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  else()
    target_sources(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests/fuzz/replay_main.cc)
    add_test(NAME ${name} COMMAND ${name} ${ARG_CORPUS})
    set_tests_properties(${name} PROPERTIES LABELS fuzz TIMEOUT 300)
  endif()
endfunction()
