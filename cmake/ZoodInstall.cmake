# install(), and the package that find_package(zood) reads.
include(CMakePackageConfigHelpers)

# Headers that a room keeps to itself: they include what a package has not (oneDNN's headers,
# generated files), or promise nothing. outside_test compiles every header that is installed.
set(private_headers
  image/decoders image/preprocess_plan
  checkpoint/caffe_blob checkpoint/caffe_parameters checkpoint/caffe_schema
  checkpoint/pickle_machine checkpoint/proto_wire.* checkpoint/pytorch_.* checkpoint/table
  checkpoint/table_builder checkpoint/tf_open checkpoint/tf_proto checkpoint/tf_slice
  checkpoint/tf_strings checkpoint/tf_tensor_proto checkpoint/tf_v1_reader checkpoint/tf_v2_reader
  graph/pick graph/window
  engine/arena engine/dnnl_.* engine/dropout engine/effective_weights engine/.*kernel.*
  engine/lifetime_plan engine/lowering engine/program engine/training_compiler
  engine/training_layer engine/training_tape
  models/families models/inception_common models/labels models/layers models/preprocessing
  models/resnet models/weight_layout
  train/augmentation_.* train/batch_source train/dataset_builder train/dataset_files
  train/dataset_readers train/option_check train/scorer train/seed train/stepper
  train/training_plan train/training_state
  store/bytes store/limits store/local_blob_store store/migration store/new_.* store/sqlite
  store/sqlite_catalogue store/store_directory
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
