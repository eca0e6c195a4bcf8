# install(), and the package that find_package(zood) reads.
include(CMakePackageConfigHelpers)

# Headers that a room keeps to itself: they include what a package has not (oneDNN's headers,
# generated files), or promise nothing. outside_test compiles every header that is installed.
set(private_headers
  image/bmp image/decoders image/preprocess_plan
  checkpoint/elements checkpoint/caffe/blob checkpoint/onnx/tensor checkpoint/pytorch/.* checkpoint/safetensors/(header|types) checkpoint/numpy/header checkpoint/tensorflow/(open|proto|slice|strings|table.*|tensor_proto|v._reader)
  netdef/caffe/parameters netdef/caffe/schema netdef/onnx/(axes|builder)
  dataset/archive_reader dataset/builder dataset/decompressor dataset/files dataset/layout dataset/formats/.*
  graph/pick graph/window
  engine/inference/.* engine/kernels/.* engine/tape/.* engine/training/.*
  models/labels models/architectures/.* models/weights/(naming|weight_layout|weight_part)
  train/batch_source train/scorer train/stepper train/training_plan train/training_state
  train/input/augmentation_.*
  store/migration store/new_.*
  store/sqlite/.* store/packs/bytes store/packs/local_blob_store
  server/.* client/cli/.*)
list(JOIN private_headers "|" private_headers)

get_property(zood_rooms GLOBAL PROPERTY ZOOD_ROOMS)
foreach(room IN LISTS zood_rooms)
  install(TARGETS zood_${room} EXPORT zoodTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${room} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/zood
          FILES_MATCHING PATTERN "*.h" REGEX "/(${private_headers})\\.h$" EXCLUDE)
endforeach()
install(EXPORT zoodTargets NAMESPACE zood:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/zood)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/zoodConfig.cmake.in
  ${PROJECT_BINARY_DIR}/zoodConfig.cmake INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/zood)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/zoodConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/zoodConfig.cmake ${PROJECT_BINARY_DIR}/zoodConfigVersion.cmake
  ${PROJECT_SOURCE_DIR}/cmake/ZoodDependencies.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/zood)
