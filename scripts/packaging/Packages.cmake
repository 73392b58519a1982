# What is installed where, and the .deb made of it: `cpack --config build/release/CPackConfig.cmake`.
include(GNUInstallDirs)
set(from ${CMAKE_CURRENT_SOURCE_DIR}/scripts/packaging)
set(made ${CMAKE_BINARY_DIR}/packaging)

configure_file(${from}/changelog.Debian.in ${made}/changelog.Debian @ONLY)

# Manual pages and completions are the programs' own descriptions of themselves.
add_custom_command(
  OUTPUT ${made}/holdfast.1.gz ${made}/holdfastd.8.gz ${made}/holdfast.bash ${made}/_holdfast ${made}/changelog.gz ${made}/changelog.Debian.gz
  COMMAND ${CMAKE_COMMAND} -E make_directory ${made}
  COMMAND sh -ec "\"$<TARGET_FILE:holdfast>\" manual | gzip -9n > holdfast.1.gz"
  COMMAND sh -ec "\"$<TARGET_FILE:holdfastd>\" --manual | gzip -9n > holdfastd.8.gz"
  COMMAND sh -ec "\"$<TARGET_FILE:holdfast>\" completion bash > holdfast.bash"
  COMMAND sh -ec "\"$<TARGET_FILE:holdfast>\" completion zsh > _holdfast"
  COMMAND sh -ec "gzip -9nc ${CMAKE_CURRENT_SOURCE_DIR}/CHANGELOG.md > changelog.gz"
  COMMAND sh -ec "gzip -9nc changelog.Debian > changelog.Debian.gz"
  DEPENDS holdfast holdfastd ${CMAKE_CURRENT_SOURCE_DIR}/CHANGELOG.md
  WORKING_DIRECTORY ${made} COMMENT "Manual pages and completions" VERBATIM)
add_custom_target(holdfast_packaging ALL DEPENDS ${made}/holdfast.1.gz)

install(TARGETS holdfast DESTINATION bin)
install(TARGETS holdfastd DESTINATION sbin)
install(FILES ${made}/holdfast.1.gz DESTINATION share/man/man1)
install(FILES ${made}/holdfastd.8.gz DESTINATION share/man/man8)
install(FILES ${made}/holdfast.bash DESTINATION share/bash-completion/completions RENAME holdfast)
install(FILES ${made}/_holdfast DESTINATION share/zsh/vendor-completions)
install(FILES ${from}/holdfast.service DESTINATION /lib/systemd/system)
install(FILES ${from}/holdfast.sysusers DESTINATION lib/sysusers.d RENAME holdfast.conf)
install(FILES ${from}/holdfast.yaml DESTINATION /etc/holdfast)
install(FILES ${from}/lintian-overrides DESTINATION share/lintian/overrides RENAME holdfast)
install(DIRECTORY docs/images DESTINATION share/doc/holdfast)
install(FILES ${from}/copyright ${made}/changelog.gz ${made}/changelog.Debian.gz README.md docs/getting-started.md docs/configuration.md
  docs/operations.md docs/migration.md docs/architecture.md DESTINATION share/doc/holdfast)
install(FILES ${from}/holdfast-dashboard.json ${from}/holdfast-alerts.yaml DESTINATION share/doc/holdfast/examples)

set(CPACK_GENERATOR DEB)
set(CPACK_SET_DESTDIR ON)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_PACKAGE_NAME holdfast)
set(CPACK_PACKAGE_VENDOR "The Holdfast authors")
set(CPACK_PACKAGE_CONTACT "The Holdfast authors <holdfast@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "load balancer in the kernel that keeps every client on its server")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "Packets are decided and translated in the Linux kernel (eBPF: XDP and TC), and\nno proxy is in the data path. Clients stay on their server by address, cookie,\nheader, SIP Call-ID, RADIUS attribute, RDP cookie, TLS session or ISO 8583\nfield. A daemon keeps it configured, checks the servers' health, and serves\nmetrics and a status page.")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "init-system-helpers (>= 1.54~), systemd | systemd-standalone-sysusers")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS bpftool)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${from}/postinst ${from}/prerm ${from}/postrm ${from}/conffiles)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_STRIP_FILES ON)
include(CPack)
