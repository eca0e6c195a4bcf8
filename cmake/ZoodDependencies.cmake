# Every library that zood builds on, found in one place. tools/install puts them all on a machine.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(OpenSSL REQUIRED)
find_package(absl REQUIRED)
find_package(fmt REQUIRED)
find_package(Eigen3 REQUIRED NO_MODULE)
find_package(nlohmann_json REQUIRED)
find_package(Protobuf REQUIRED)
find_package(SQLite3 REQUIRED)
find_package(JPEG REQUIRED)
pkg_check_modules(spng REQUIRED IMPORTED_TARGET spng)
pkg_check_modules(webp REQUIRED IMPORTED_TARGET libwebp)
find_package(GIF 5 REQUIRED)
pkg_check_modules(regex REQUIRED IMPORTED_TARGET re2)  # "re2" itself is what gRPC looks for
pkg_check_modules(utf8proc REQUIRED IMPORTED_TARGET libutf8proc)
find_package(Snappy CONFIG REQUIRED)
find_package(ZLIB REQUIRED)
find_package(LibLZMA REQUIRED)
find_package(LibArchive REQUIRED)
find_package(CLI11 CONFIG REQUIRED)
find_package(spdlog CONFIG REQUIRED)
find_package(prometheus-cpp CONFIG REQUIRED)
find_package(Boost 1.74 CONFIG REQUIRED)  # Asio and Beast: headers alone

# gRPC installs its CMake files where the distribution built it with CMake.
find_package(gRPC CONFIG QUIET)
if(NOT TARGET gRPC::grpc++)
  pkg_check_modules(grpcpp REQUIRED IMPORTED_TARGET GLOBAL grpc++)
  add_library(gRPC::grpc++ ALIAS PkgConfig::grpcpp)
endif()
find_library(ZOOD_GRPC_REFLECTION grpc++_reflection REQUIRED)
find_program(ZOOD_GRPC_CPP_PLUGIN grpc_cpp_plugin REQUIRED)

# oneDNN 3: the distribution's where it has it, otherwise the prefix that tools/install filled.
find_package(dnnl 3 CONFIG QUIET)
if(NOT dnnl_FOUND)
  set(ZOOD_ONEDNN_PREFIX "" CACHE PATH "Where oneDNN 3 was unpacked (by tools/install)")
  foreach(prefix IN ITEMS ${ZOOD_ONEDNN_PREFIX} /opt/zood/onednn $ENV{HOME}/.local/share/zood/onednn)
    if(EXISTS ${prefix}/include/oneapi/dnnl/dnnl.hpp)
      set(zood_onednn ${prefix})
      break()
    endif()
  endforeach()
  if(NOT zood_onednn)
    message(FATAL_ERROR "oneDNN 3 was not found: run tools/install, or set ZOOD_ONEDNN_PREFIX")
  endif()
  find_library(ZOOD_ONEDNN_LIBRARY NAMES libdnnl.so.3 dnnl PATHS ${zood_onednn}/lib
               NO_DEFAULT_PATH REQUIRED)
  add_library(DNNL::dnnl SHARED IMPORTED GLOBAL)
  set_target_properties(DNNL::dnnl PROPERTIES
    IMPORTED_LOCATION ${ZOOD_ONEDNN_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${zood_onednn}/include)
endif()

if(ZOOD_BUILD_TESTS)
  find_package(GTest REQUIRED)
endif()
