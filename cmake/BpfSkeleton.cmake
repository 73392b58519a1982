# BPF objects are compiled by clang and become C headers ("skeletons") that carry
# them into the daemon: there is no object file to find at run time.
find_program(BPF_CLANG NAMES clang-19 REQUIRED)
find_program(BPFTOOL bpftool PATHS /usr/sbin /sbin REQUIRED)

set(BPF_FLAGS
    -g -O2 -target bpf -mcpu=v3 -fno-strict-aliasing
    -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare -Wno-unused-function
    -I ${PROJECT_SOURCE_DIR}/include -I ${PROJECT_SOURCE_DIR}/bpf
    # What a native compiler finds by itself: asm/types.h.
    -idirafter /usr/include/${CMAKE_LIBRARY_ARCHITECTURE})

# SOURCE is NAME.bpf.c; the target is NAME_skeleton.
function(add_bpf_skeleton name source)
  set(object ${CMAKE_CURRENT_BINARY_DIR}/${name}.bpf.o)
  set(skeleton ${CMAKE_CURRENT_BINARY_DIR}/${name}.skel.h)
  add_custom_command(
    OUTPUT ${object}
    COMMAND ${BPF_CLANG} ${BPF_FLAGS} -MD -MF ${object}.d -MT ${object} -c ${source} -o ${object}
    DEPENDS ${source}
    DEPFILE ${object}.d
    COMMENT "BPF ${name}" VERBATIM)
  add_custom_command(
    OUTPUT ${skeleton}
    COMMAND sh -c "${BPFTOOL} gen skeleton ${object} name ${name}_bpf > ${skeleton}.new && mv ${skeleton}.new ${skeleton}"
    DEPENDS ${object}
    COMMENT "Skeleton ${name}" VERBATIM)
  add_custom_target(${name}_skeleton DEPENDS ${skeleton})
endfunction()
