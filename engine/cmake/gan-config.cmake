# find_package(gan) -> the targets gan::gan and gan::gan_static: libgan with gan.h and gan.hpp.
include(CMakeFindDependencyMacro)
find_dependency(Threads)
include("${CMAKE_CURRENT_LIST_DIR}/gan-targets.cmake")
