# install(), and the package that find_package(zood) reads.
include(CMakePackageConfigHelpers)

get_property(zood_rooms GLOBAL PROPERTY ZOOD_ROOMS)
foreach(room IN LISTS zood_rooms)
  install(TARGETS zood_${room} EXPORT zoodTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${room} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/zood
          FILES_MATCHING PATTERN "*.h")
endforeach()
install(EXPORT zoodTargets NAMESPACE zood:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/zood)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/zoodConfig.cmake.in
  ${PROJECT_BINARY_DIR}/zoodConfig.cmake INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/zood)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/zoodConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/zoodConfig.cmake ${PROJECT_BINARY_DIR}/zoodConfigVersion.cmake
  ${PROJECT_SOURCE_DIR}/cmake/ZoodDependencies.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/zood)
