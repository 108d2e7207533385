# eyrie_floor(NAME [USES floors below] [LIBRARIES lib:: targets]): the library eyrie::NAME from NAME/**/*.cc.
# Headers are included as "NAME/file.h" through an include folder of the floor's own, so that a floor which
# is not among USES cannot be included at all.
function(eyrie_floor name)
  cmake_parse_arguments(FLOOR "" "" "USES;LIBRARIES" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${name}/*.cc)
  add_library(eyrie_${name} STATIC ${sources})
  add_library(eyrie::${name} ALIAS eyrie_${name})
  set(include ${CMAKE_BINARY_DIR}/include/${name})
  file(MAKE_DIRECTORY ${include})
  file(CREATE_LINK ${CMAKE_SOURCE_DIR}/${name} ${include}/${name} SYMBOLIC)
  target_include_directories(eyrie_${name} PUBLIC ${include})
  target_link_libraries(eyrie_${name} PRIVATE ${FLOOR_LIBRARIES})
  foreach(below ${FLOOR_USES})
    target_link_libraries(eyrie_${name} PUBLIC eyrie::${below})
  endforeach()
  # fmt formats every message; it is the one library that any floor may use.
  target_link_libraries(eyrie_${name} PUBLIC fmt::fmt)
endfunction()
