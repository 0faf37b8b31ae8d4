# find_package(gan) -> the target gan::gan: libgan with gan.h and gan.hpp.
include("${CMAKE_CURRENT_LIST_DIR}/gan-targets.cmake")
